/**
 * Every error that a person can cause or has to understand, with its title. docs/reference/errors.md explains each one (a
 * test holds the two together). HF0xx: input and API; HF1xx: placement; HF2xx: operator; HF3xx: storage-agent; HF4xx: CSI;
 * HF5xx: client agent; HF6xx: the command line. A code is never used again for something else.
 */
export const errorCodes = {
  HF001: 'an object is not valid',
  HF002: 'a duration is not valid',
  HF003: 'a size is not valid',
  HF004: 'a command-line option is not valid',
  HF005: 'the kubeconfig can not be used',
  HF006: 'the API server does not know the kind',
  HF200: 'the storage nodes know more of a volume than the API server',
  HF201: 'a forced start can not be carried out',
  HF300: 'a step on a storage node failed',
  HF301: 'a disk for a pool holds data',
  HF302: 'a disk for a pool is missing',
  HF303: 'a volume group can not be used for a pool',
  HF304: 'a thin pool can not be used',
  HF305: 'the NVMe target of a storage node can not be used',
  HF306: 'a storage node can not listen on its address',
  HF307: 'the logical volume of a replica is gone',
  HF308: 'a logical volume belongs to another replica',
  HF309: "the former host's controllers do not go away",
  HF310: 'a replica that is still in use was deleted',
  HF311: 'an orphan can not be erased yet',
  HF312: 'there are logical volumes without a replica object',
  HF313: 'a pool is nearly full',
  HF314: 'an erased volume does not read as zeros',
  HF315: 'a disk knows more than the API server',
  HF316: 'the header of a leg can not be read',
  HF317: 'there is no logical volume to take over',
  HF318: 'a copy of a snapshot can not be taken',
  HF319: 'the copy of a snapshot is gone',
  HF401: 'a CSI request is not valid',
  HF402: 'a StorageClass parameter is not valid',
  HF403: 'the size is out of range',
  HF404: 'a volume of this name exists with other properties',
  HF405: 'there is no such volume',
  HF406: 'the volume is not ready in time',
  HF407: 'the volume is attached elsewhere or still in use',
  HF408: 'there is no such client node',
  HF409: 'an operation for this volume is under way',
  HF410: 'the device holds something else and is not formatted',
  HF411: 'the filesystem can not be made, checked or mounted',
  HF412: 'the path is taken by another mount',
  HF413: 'the volume is not there on this node',
  HF420: 'a claim sets what it may not',
  HF421: 'the node has as many volumes as it takes',
  HF422: 'there is no room for the volume to grow',
  HF430: 'there is no such snapshot',
  HF431: 'a snapshot of this name exists with another source',
  HF432: 'the snapshot can not be taken',
  HF500: 'a leg knows more than the API server',
  HF501: 'the kernel can not keep the bitmap of a volume',
  HF600: 'there is no object of this name',
  HF601: 'the loss of data was not accepted',
  HF602: 'the volume can not be recovered',
} as const;

export type ErrorCode = keyof typeof errorCodes;

export interface HoldfastErrorDetails {
  /** The field or option that is wrong, as the user wrote it. */
  readonly field?: string | undefined;
  readonly cause?: unknown;
}

/** An error for people: the message names what is wrong and what would be right, the code leads to the docs. */
export class HoldfastError extends Error {
  readonly code: ErrorCode;
  readonly field: string | undefined;

  constructor(code: ErrorCode, message: string, details: HoldfastErrorDetails = {}) {
    super(`${code}: ${message}`, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = 'HoldfastError';
    this.code = code;
    this.field = details.field;
  }
}
