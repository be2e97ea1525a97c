export const pageHeaders: Record<string, string> = {};
