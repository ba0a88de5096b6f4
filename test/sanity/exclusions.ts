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
];

/** Not yet offered; taken out of this list with the feature. */
export const pending: readonly string[] = [
  'ListSnapshots [Controller Server]',
  'GetSnapshot [Controller Server]',
  'DeleteSnapshot [Controller Server]',
  'CreateSnapshot [Controller Server]',
  'GroupController Service',
  'ModifyVolume [Controller Server]',
  'ExpandVolume [Controller Server]',
  'Node Service | NodeExpandVolume',
  'CreateVolume | should create volume from an existing source snapshot',
  'CreateVolume | should fail when the volume source snapshot is not found',
  'CreateVolume | should create volume from an existing source volume',
  'CreateVolume | should fail when the volume source volume is not found',
  'CreateVolume | should create volume with a volume attribute class',
  'CreateVolume | should not create volume with an invalid volume attribute class',
];
