/** Something that is not as the API says, or that the API's objects say against each other. */
export interface Finding {
  /** error: data or availability is at risk. warning: something is left over, or waits for a person. */
  readonly severity: 'error' | 'warning';
  /** `volume pg`, `replica pg-r0`, `node s1: export nqn...`. */
  readonly object: string;
  readonly what: string;
}

export const error = (object: string, what: string): Finding => ({ severity: 'error', object, what });
export const warning = (object: string, what: string): Finding => ({ severity: 'warning', object, what });
