/** How long alerts are silenced from the list; null = until they resolve. */
export const FOR = ['1h', '4h', '24h', null] as const;
