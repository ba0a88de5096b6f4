/**
 * A 32-bit hash of a text: FNV-1a over UTF-16 units with murmur3's final mix, so that texts that differ in one
 * character (node-1, node-2) come in an order that looks random. Stable for ever: a tie-break may not change with a
 * new version.
 */
export function hash32(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i += 1) {
    hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  }
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
