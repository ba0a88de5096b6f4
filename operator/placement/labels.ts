/** Kubernetes label keys and values. Source: kubernetes.io/docs/concepts/overview/working-with-objects/labels. */

export type Labels = Readonly<Record<string, string>>;

const NAME = /^[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$/;
const DNS_LABEL = /^[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?$/;

/** The value of a label, and undefined for what only the prototype has (a label may be called `constructor`). */
export function labelValue(labels: Labels | undefined, key: string): string | undefined {
  return labels !== undefined && Object.hasOwn(labels, key) ? labels[key] : undefined;
}

/** What a label key must look like; used in errors. */
export const labelKeyRule = 'a label key (such as zone or topology.kubernetes.io/zone)';

/** What a label value must look like; used in errors. */
export const labelValueRule = 'a label value (letters, digits, "-", "_" and ".", at most 63)';

/** Whether `key` is a valid label key: an optional DNS subdomain and a slash, then a name of at most 63 characters. */
export function isLabelKey(key: string): boolean {
  const slash = key.indexOf('/');
  if (slash === -1) {
    return NAME.test(key);
  }
  const prefix = key.slice(0, slash);
  return (
    prefix.length <= 253 && prefix.split('.').every((part) => DNS_LABEL.test(part)) && NAME.test(key.slice(slash + 1))
  );
}

/** Whether `value` is a valid label value: empty, or a name of at most 63 characters. */
export function isLabelValue(value: string): boolean {
  return value === '' || NAME.test(value);
}
