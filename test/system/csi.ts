/** The CSI requests of the story, as kubelet and the sidecars would make them. */
export type VolumeKind = 'ext4' | 'xfs' | 'block';

/** A VolumeCapability for one node that writes. */
export function capability(kind: VolumeKind): object {
  const access = kind === 'block' ? { block: {} } : { mount: { fsType: kind, mountFlags: [] } };
  return { ...access, accessMode: { mode: 'SINGLE_NODE_WRITER' } };
}

export const STAGING = '/var/lib/kubelet/plugins/staging';
export const TARGET = '/mnt/data';

export const CSI = {
  publish: (volumeId: string, nodeId: string, kind: VolumeKind): object => ({
    volumeId,
    nodeId,
    volumeCapability: capability(kind),
    readonly: false,
  }),
  stage: (volumeId: string, publishContext: unknown, kind: VolumeKind): object => ({
    volumeId,
    publishContext,
    stagingTargetPath: `${STAGING}/${volumeId}`,
    volumeCapability: capability(kind),
  }),
  publishOnNode: (volumeId: string, publishContext: unknown, kind: VolumeKind, targetPath = TARGET): object => ({
    volumeId,
    publishContext,
    stagingTargetPath: `${STAGING}/${volumeId}`,
    targetPath,
    volumeCapability: capability(kind),
  }),
} as const;
