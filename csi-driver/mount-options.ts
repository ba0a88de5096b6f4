/**
 * Mount options that a volume may have. Whatever the filesystem itself knows is allowed, except what would break a promise
 * of the volume; words that make mount(8) do something else than mount it are not.
 */

/** One option; in `context="a:b:c:d1,d2"` a comma may stand between quotation marks. For RE2 and JavaScript alike. */
export const MOUNT_OPTION_PATTERN = '[A-Za-z][-A-Za-z0-9_.]*(=("[^"]*"|[^", \\t\\r\\n]*))?';

/** The options that are refused, and why, as it follows the option. */
export const refusedMountOptions: readonly { readonly options: readonly string[]; readonly why: string }[] = [
  {
    options: ['nobarrier', 'barrier=0'],
    why: 'what an application has flushed could be lost with the power',
  },
  {
    options: ['noload', 'norecovery'],
    why: 'the journal must be replayed after a crash',
  },
  {
    options: ['bind', 'rbind', 'move', 'remount', 'loop'],
    why: 'it is no option of a filesystem',
  },
  {
    options: ['shared', 'slave', 'private', 'unbindable', 'rshared', 'rslave', 'rprivate', 'runbindable'],
    why: "propagation is the kubelet's to choose",
  },
];

/** Why an option is refused, as it follows the option and a colon; undefined when it is not. */
export function mountOptionFault(option: string): string | undefined {
  if (!new RegExp(`^(${MOUNT_OPTION_PATTERN})$`).test(option)) {
    return 'expected one option, such as noatime or commit=30';
  }
  return refusedMountOptions.find(({ options }) => options.includes(option))?.why;
}
