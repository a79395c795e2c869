/**
 * Whether a Content-Type names one of the media types, and UTF-8 where it names a charset: JSON is exchanged in nothing
 * else (RFC 8259 section 8.1).
 */
export function isJsonContentType(value: string, mediaTypes: readonly string[] = ['application/json']): boolean {
  const [media = '', ...parameters] = value.split(';').map((part) => part.trim().toLowerCase());
  const charsets = parameters.filter((parameter) => parameter.startsWith('charset='));
  return mediaTypes.includes(media) && charsets.every((charset) => /^charset="?utf-?8"?$/.test(charset));
}
