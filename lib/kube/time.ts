/** MicroTime of the API: RFC 3339 with microseconds, which JavaScript's clock leaves at zero. */
export function microTime(ms: number): string {
  return new Date(ms).toISOString().replace('Z', '000Z');
}

/** Time of the API: RFC 3339 in whole seconds. */
export function secondTime(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19)}Z`;
}
