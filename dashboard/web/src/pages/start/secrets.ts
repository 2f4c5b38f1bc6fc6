/** Secrets that the server has shown since this page was loaded. It shows each once, and nothing keeps them longer. */
export const secrets = new Map<string, string>();
