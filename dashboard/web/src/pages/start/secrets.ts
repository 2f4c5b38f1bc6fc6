/**
 * Secrets that the server has shown since this page was loaded. It shows each once, and nothing keeps them longer:
 * a sign-out loads the page anew, and the first value of a device ends the need for its own.
 */
export const secrets = new Map<string, string>();
