/**
 * The cases of csi-sanity that are not run, each with the reason: it skips what a driver does not offer. A case that is
 * skipped and is not here, or the other way round, fails the test. docs/reference/csi.md tells the same to users.
 */
export const exclusions: readonly { readonly case: string; readonly why: string }[] = [
  {
    case: 'ControllerPublishVolume | should fail when the volume is already published but is incompatible',
    why:
      'needs PUBLISH_READONLY. A volume is attached for writing or not at all: an array that may not write can neither record the ' +
      'loss of a leg nor replay a journal. Read-only is the mount (NodePublishVolume), which is tried.',
  },
  {
    case: 'CreateSnapshot [Controller Server] | should succeed when creating a snapshot with accessibility requirements',
    why:
      'needs SNAPSHOT_ACCESSIBILITY_CONSTRAINTS. A snapshot stays where the replicas are that it was taken of, and a volume can be ' +
      'made from it anywhere: the others are filled over the network. There is nothing for a caller to require.',
  },
];

/** Not yet offered; taken out of this list with the feature. */
export const pending: readonly string[] = [];
