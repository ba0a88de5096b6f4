// Generated from crds/ by generate.ts: do not edit.
import type { Schema } from '../crd.ts';

/** The schemas of the CRDs, as the API server enforces them (without their CEL rules' meaning). */
export const schemas = {
  ReplicatedSnapshot: {
    type: 'object',
    description: 'The content of a volume at one instant, kept as copies beside the replicas that it was taken from.',
    required: ['spec'],
    'x-kubernetes-validations': [
      {
        rule: 'size(self.metadata.name) <= 63',
        message: "the name of a ReplicatedSnapshot has at most 63 characters, as it is also a label's value",
      },
    ],
    properties: {
      spec: {
        type: 'object',
        required: ['volume'],
        'x-kubernetes-validations': [{ rule: 'self == oldSelf', message: "what a snapshot is of can't be changed" }],
        properties: {
          volume: {
            type: 'string',
            minLength: 1,
            maxLength: 100,
            description: 'The ReplicatedVolume that it is taken of.',
          },
          volumeUid: {
            type: 'string',
            maxLength: 64,
            description: 'The UID of that volume; without it the volume that has the name when the snapshot is taken.',
          },
          group: {
            type: 'object',
            description:
              'Several snapshots that are taken at one instant. All have the same group; it is taken once the snapshots of all its volumes are there.',
            required: ['name', 'volumes'],
            properties: {
              name: { type: 'string', minLength: 1, maxLength: 100 },
              volumes: {
                type: 'array',
                minItems: 1,
                maxItems: 64,
                'x-kubernetes-list-type': 'set',
                items: { type: 'string', minLength: 1, maxLength: 100 },
              },
            },
          },
          forVolume: {
            type: 'string',
            maxLength: 100,
            description:
              'The ReplicatedVolume that is made from it and for which alone it is taken; it goes away once that volume has its data.',
          },
        },
      },
      status: {
        type: 'object',
        'x-kubernetes-validations': [
          {
            rule: '!has(oldSelf.phase) || !has(oldSelf.copies) || !(oldSelf.phase in ["Ready", "Deleting"]) || (has(self.copies) && self.copies == oldSelf.copies)',
            message: 'the copies of a snapshot that is ready are never changed',
          },
          {
            rule: '!has(oldSelf.attempt) || (has(self.attempt) && self.attempt >= oldSelf.attempt)',
            message: 'the number of the attempt never falls',
          },
        ],
        properties: {
          phase: { type: 'string', enum: ['Pending', 'Taking', 'Ready', 'Failed', 'Deleting'] },
          message: { type: 'string', maxLength: 1024, description: 'One line for people.' },
          volumeUid: { type: 'string', maxLength: 64, description: 'The UID of the volume that it was taken of.' },
          sizeBytes: {
            type: 'integer',
            format: 'int64',
            minimum: 1048576,
            description: 'The capacity of the volume when it was taken.',
          },
          size: { type: 'string' },
          takenAt: { type: 'string', format: 'date-time', description: 'When its content was that of the volume.' },
          attempt: {
            type: 'integer',
            format: 'int32',
            minimum: 1,
            description:
              'The try that is under way, or the one that succeeded. Copies of different tries are never mixed.',
          },
          attemptAt: { type: 'string', format: 'date-time', description: 'Before this the try does not begin.' },
          takenAttempt: {
            type: 'integer',
            format: 'int32',
            minimum: 1,
            description:
              'The try in which the copies below were taken. In a group they count once those of all volumes are of the same try.',
          },
          copiesSummary: { type: 'string' },
          copies: {
            type: 'array',
            description:
              'The copies that hold the content. Those of one try are identical, so a volume can be made from any of them.',
            maxItems: 8,
            'x-kubernetes-list-type': 'map',
            'x-kubernetes-list-map-keys': ['name'],
            items: {
              type: 'object',
              required: ['name', 'uid', 'replica', 'storageNode', 'pool'],
              properties: {
                name: { type: 'string', maxLength: 253, description: 'The SnapshotReplica.' },
                uid: { type: 'string', maxLength: 64 },
                replica: { type: 'string', maxLength: 253 },
                storageNode: { type: 'string', maxLength: 253 },
                pool: { type: 'string', maxLength: 32 },
              },
            },
          },
        },
      },
    },
  },
  ReplicatedVolume: {
    type: 'object',
    description: 'A volume that is kept as several replicas in different failure domains.',
    required: ['spec'],
    'x-kubernetes-validations': [
      {
        rule: 'size(self.metadata.name) <= 63',
        message: "the name of a ReplicatedVolume has at most 63 characters, as it is also a label's value",
      },
      {
        rule: '!has(oldSelf.status) || !has(oldSelf.status.attachment) || (has(self.status) && has(self.status.attachment))',
        message: 'the attachment record is never removed (its epoch would be forgotten)',
      },
      {
        rule: '!has(oldSelf.status) || !has(oldSelf.status.inSync) || size(oldSelf.status.inSync) == 0 || (has(self.status) && has(self.status.inSync) && size(self.status.inSync) > 0)',
        message: 'the last in-sync replica is never removed from the record',
      },
      {
        rule: '!has(oldSelf.status) || !has(oldSelf.status.recordGeneration) || (has(self.status) && has(self.status.recordGeneration) && self.status.recordGeneration >= oldSelf.status.recordGeneration)',
        message: 'the generation of the record never falls',
      },
      {
        rule: '!has(oldSelf.status) || !has(oldSelf.status.recordGeneration) || !has(oldSelf.status.inSync) || (has(self.status) && has(self.status.inSync) && self.status.inSync == oldSelf.status.inSync) || (has(self.status) && has(self.status.recordGeneration) && self.status.recordGeneration > oldSelf.status.recordGeneration)',
        message: 'a change of the in-sync set is a new record, and recordGeneration grows with it',
      },
      {
        rule: '!has(oldSelf.status) || !has(oldSelf.status.capacityBytes) || (has(self.status) && has(self.status.capacityBytes) && self.status.capacityBytes >= oldSelf.status.capacityBytes)',
        message: 'a volume never gets smaller',
      },
      {
        rule: '!has(oldSelf.status) || !has(oldSelf.status.lineage) || (has(self.status) && has(self.status.lineage) && self.status.lineage >= oldSelf.status.lineage)',
        message: 'the lineage never falls',
      },
    ],
    properties: {
      spec: {
        type: 'object',
        required: ['capacityBytes'],
        'x-kubernetes-validations': [
          {
            rule: 'has(self.source) == has(oldSelf.source) && (!has(self.source) || self.source == oldSelf.source)',
            message: "source can't be changed",
          },
          {
            rule: "!has(self.source) || self.provisioning == 'Thin'",
            message: 'a volume that is made from another one or from a snapshot shares blocks with it, and so is Thin',
          },
          {
            rule: '!has(oldSelf.forceStart) || (has(self.forceStart) && (self.forceStart.lineage > oldSelf.forceStart.lineage || (self.forceStart.lineage == oldSelf.forceStart.lineage && self.forceStart.recordGeneration > oldSelf.forceStart.recordGeneration) || self.forceStart == oldSelf.forceStart))',
            message:
              'a forced start is not taken back or changed; another one names a higher lineage, or a later record',
          },
        ],
        properties: {
          capacityBytes: {
            type: 'integer',
            format: 'int64',
            minimum: 1048576,
            maximum: 70368744177664,
            description: 'Usable size in bytes, a multiple of 1 MiB. It only grows.',
            'x-kubernetes-validations': [
              { rule: 'self >= oldSelf', message: 'capacityBytes only grows; a volume is never made smaller' },
              { rule: 'self % 1048576 == 0', message: 'capacityBytes is a multiple of 1048576 (1 MiB)' },
            ],
          },
          replicas: { type: 'integer', format: 'int32', minimum: 1, maximum: 8, default: 2 },
          placement: {
            type: 'object',
            default: {},
            description: 'Hard constraints and weighted goals over the labels of storage nodes.',
            properties: {
              constraints: {
                type: 'array',
                default: [],
                maxItems: 16,
                'x-kubernetes-list-type': 'atomic',
                items: {
                  type: 'object',
                  minProperties: 1,
                  maxProperties: 1,
                  properties: {
                    distinct: {
                      type: 'object',
                      required: ['label'],
                      properties: { label: { type: 'string', minLength: 1, maxLength: 317 } },
                    },
                    same: {
                      type: 'object',
                      required: ['label'],
                      properties: { label: { type: 'string', minLength: 1, maxLength: 317 } },
                    },
                    exists: {
                      type: 'object',
                      required: ['label'],
                      properties: { label: { type: 'string', minLength: 1, maxLength: 317 } },
                    },
                    in: {
                      type: 'object',
                      required: ['label', 'values'],
                      properties: {
                        label: { type: 'string', minLength: 1, maxLength: 317 },
                        values: {
                          type: 'array',
                          minItems: 1,
                          maxItems: 64,
                          'x-kubernetes-list-type': 'set',
                          items: { type: 'string', maxLength: 63 },
                        },
                      },
                    },
                    notIn: {
                      type: 'object',
                      required: ['label', 'values'],
                      properties: {
                        label: { type: 'string', minLength: 1, maxLength: 317 },
                        values: {
                          type: 'array',
                          minItems: 1,
                          maxItems: 64,
                          'x-kubernetes-list-type': 'set',
                          items: { type: 'string', maxLength: 63 },
                        },
                      },
                    },
                  },
                },
              },
              goals: {
                type: 'array',
                default: [],
                maxItems: 16,
                'x-kubernetes-list-type': 'atomic',
                items: {
                  type: 'object',
                  minProperties: 2,
                  maxProperties: 2,
                  required: ['weight'],
                  properties: {
                    weight: { type: 'integer', format: 'int32', minimum: 1, maximum: 100, default: 10 },
                    distinct: {
                      type: 'object',
                      required: ['label'],
                      properties: { label: { type: 'string', minLength: 1, maxLength: 317 } },
                    },
                    same: {
                      type: 'object',
                      required: ['label'],
                      properties: { label: { type: 'string', minLength: 1, maxLength: 317 } },
                    },
                    in: {
                      type: 'object',
                      required: ['label', 'values'],
                      properties: {
                        label: { type: 'string', minLength: 1, maxLength: 317 },
                        values: {
                          type: 'array',
                          minItems: 1,
                          maxItems: 64,
                          'x-kubernetes-list-type': 'set',
                          items: { type: 'string', maxLength: 63 },
                        },
                      },
                    },
                    near: {
                      type: 'object',
                      description: "Prefer nodes that share the client's labels, or one label of them.",
                      properties: { label: { type: 'string', minLength: 1, maxLength: 317 } },
                    },
                    spread: {
                      type: 'object',
                      required: ['resource'],
                      properties: { resource: { type: 'string', enum: ['capacity'] } },
                    },
                  },
                },
              },
            },
          },
          healing: {
            type: 'object',
            default: {},
            properties: {
              replicaTimeout: {
                type: 'string',
                default: '10m',
                description: 'How long a replica may stay away before the volume heals onto another node.',
                pattern: '^([0-9]+(\\.[0-9]+)?(ms|s|m|h))+$',
                maxLength: 32,
              },
              legTimeout: {
                type: 'string',
                default: '3s',
                description:
                  'How long the client waits for a leg that does not answer before it records the loss and goes on without it.',
                pattern: '^([0-9]+(\\.[0-9]+)?(ms|s|m|h))+$',
                maxLength: 32,
              },
              onControlPlaneLoss: {
                type: 'string',
                default: 'Wait',
                description:
                  "What writes do when a leg is lost while the API server can't be reached, so that the loss can't be recorded: `Wait` for it (nothing acknowledged is ever lost), or `Continue after 30s` without the record. The latter risks acknowledged writes: should the client die, or be cut off, before it could record the loss, the volume may be started elsewhere from the replica that lacks them.",
                pattern: '^(Wait|Continue after ([0-9]+(\\.[0-9]+)?(ms|s|m|h))+)$',
                maxLength: 64,
              },
              onSlowLeg: {
                type: 'string',
                default: 'Report',
                description:
                  'What happens to a leg whose connection lives but that ends no I/O: `Report` it (writes wait for it), or `Drop after 30s` of standstill, while another in-sync leg works.',
                pattern: '^(Report|Drop after ([0-9]+(\\.[0-9]+)?(ms|s|m|h))+)$',
                maxLength: 64,
              },
              paused: { type: 'boolean', default: false },
            },
          },
          provisioning: {
            type: 'string',
            enum: ['Thin', 'Thick'],
            default: 'Thin',
            'x-kubernetes-validations': [{ rule: 'self == oldSelf', message: "provisioning can't be changed" }],
          },
          clientLabels: {
            type: 'object',
            maxProperties: 64,
            description:
              "Labels of the node for which the volume is, with which goals `near(client)` compare storage nodes. The CSI controller writes those of the first pod's node, and later of the node that has the volume.",
            additionalProperties: { type: 'string', maxLength: 63 },
          },
          source: {
            type: 'object',
            description: 'What the volume begins with; without it, it begins empty. Only a thin volume can have one.',
            minProperties: 1,
            maxProperties: 1,
            properties: {
              snapshot: { type: 'string', minLength: 1, maxLength: 100, description: 'A ReplicatedSnapshot.' },
              volume: {
                type: 'string',
                minLength: 1,
                maxLength: 100,
                description: 'Another ReplicatedVolume, as it is now.',
              },
            },
          },
          attachTo: {
            type: 'string',
            default: '',
            maxLength: 253,
            description: 'The client node that is to have the volume; empty for none. The CSI controller writes it.',
          },
          forceStart: {
            type: 'object',
            description:
              "A person's decision to go on from a replica that lacks acknowledged writes, because no in-sync replica can be reached. What only the others hold is lost. `holdfast volume force-start` writes it.",
            required: ['replica', 'lineage', 'recordGeneration', 'acceptDataLoss'],
            properties: {
              replica: {
                type: 'string',
                minLength: 1,
                maxLength: 253,
                description: 'The replica whose data becomes the data of the volume.',
              },
              lineage: {
                type: 'integer',
                format: 'int64',
                minimum: 2,
                description:
                  'The lineage that begins - one more than status.lineage. A request for a lineage that has begun is done.',
              },
              recordGeneration: {
                type: 'integer',
                format: 'int64',
                minimum: 0,
                description:
                  'The record (status.recordGeneration) on which the decision rests, 0 for none. A request is void once the record has changed.',
              },
              acceptDataLoss: {
                type: 'boolean',
                description: 'It must be true.',
                'x-kubernetes-validations': [
                  { rule: 'self', message: 'a forced start loses data; acceptDataLoss must be true' },
                ],
              },
            },
          },
        },
      },
      status: {
        type: 'object',
        properties: {
          phase: {
            type: 'string',
            enum: ['Pending', 'Creating', 'Healthy', 'Degraded', 'Healing', 'Waiting', 'Deleting'],
          },
          message: {
            type: 'string',
            maxLength: 1024,
            description: 'One line for people: is the volume safe, and if not, why.',
          },
          inSyncSummary: { type: 'string' },
          size: { type: 'string' },
          capacityBytes: {
            type: 'integer',
            format: 'int64',
            minimum: 0,
            description:
              'How much of spec.capacityBytes can be used. It follows when every replica that counts, and the array of the client that has the volume, has grown; it never falls.',
          },
          attachment: {
            type: 'object',
            required: ['epoch'],
            'x-kubernetes-validations': [
              { rule: 'self.epoch >= oldSelf.epoch', message: 'the attachment epoch never falls' },
            ],
            properties: {
              node: { type: 'string', default: '', description: 'The client node that may write; empty for none.' },
              hostNqn: { type: 'string', default: '' },
              epoch: { type: 'integer', format: 'int64', minimum: 0 },
              clean: {
                type: 'boolean',
                default: true,
                description: 'The array was stopped in order: all in-sync legs are identical.',
              },
            },
          },
          inSync: {
            type: 'array',
            description: 'The replicas that hold every acknowledged write.',
            maxItems: 8,
            'x-kubernetes-list-type': 'set',
            items: { type: 'string', maxLength: 253 },
          },
          recordGeneration: {
            type: 'integer',
            format: 'int64',
            minimum: 0,
            description:
              'Grows with each change of the in-sync set, and never falls. The legs carry the last one, so that an older record is known for what it is.',
          },
          lineage: {
            type: 'integer',
            format: 'int64',
            minimum: 1,
            description:
              "The history that the volume's data belongs to; only a forced start begins a new one. None means 1.",
          },
          outOfSync: {
            type: 'object',
            description:
              "By replica, when it left the in-sync set and whether the running array's bitmap knows what it lacks.",
            additionalProperties: {
              type: 'object',
              required: ['epoch', 'at'],
              properties: {
                epoch: { type: 'integer', format: 'int64', minimum: 0 },
                bootId: {
                  type: 'string',
                  description:
                    'The client boot in which the array has tracked the missing writes; without it only a full sync helps.',
                },
                nqn: {
                  type: 'string',
                  description:
                    "The NVMe name under which the leg was lost. It names the storage node's boot - a rebooted node may have lost what it had not flushed, so only a full sync helps.",
                },
                at: { type: 'string', format: 'date-time' },
                reason: { type: 'string', maxLength: 1024 },
                mixedSince: {
                  type: 'string',
                  format: 'date-time',
                  description:
                    'Since when data has been copied to it. Until that has come to its end the replica holds blocks of two times.',
                },
              },
            },
          },
          nextReplica: {
            type: 'integer',
            format: 'int32',
            minimum: 0,
            description:
              "The least ordinal of the next replica's name; it only grows. A replica that is made later bears the volume's age in seconds at least, so that no name is used twice, also after a restore from a backup.",
          },
          replicas: {
            type: 'array',
            maxItems: 24,
            'x-kubernetes-list-type': 'map',
            'x-kubernetes-list-map-keys': ['name'],
            items: {
              type: 'object',
              required: ['name', 'storageNode', 'pool', 'role'],
              properties: {
                name: { type: 'string' },
                storageNode: { type: 'string' },
                pool: { type: 'string' },
                role: { type: 'string', enum: ['Member', 'Leaving'] },
                copyUid: {
                  type: 'string',
                  maxLength: 64,
                  description: 'The UID of the SnapshotReplica that it was made from; none for one that began empty.',
                },
                since: { type: 'string', format: 'date-time', description: 'When it was added to the volume.' },
                why: {
                  type: 'array',
                  'x-kubernetes-list-type': 'atomic',
                  description: 'Why it was placed there.',
                  items: { type: 'string' },
                },
              },
            },
          },
          conditions: {
            type: 'array',
            'x-kubernetes-list-type': 'map',
            'x-kubernetes-list-map-keys': ['type'],
            items: {
              type: 'object',
              required: ['type', 'status', 'lastTransitionTime', 'reason', 'message'],
              properties: {
                type: { type: 'string', maxLength: 316 },
                status: { type: 'string', enum: ['True', 'False', 'Unknown'] },
                observedGeneration: { type: 'integer', format: 'int64', minimum: 0 },
                lastTransitionTime: { type: 'string', format: 'date-time' },
                reason: { type: 'string', minLength: 1, maxLength: 1024 },
                message: { type: 'string', maxLength: 32768 },
              },
            },
          },
        },
      },
    },
  },
  SnapshotReplica: {
    type: 'object',
    description: "One copy of a snapshot on one storage node - a thin snapshot of a replica's logical volume.",
    required: ['spec'],
    properties: {
      spec: {
        type: 'object',
        required: [
          'snapshot',
          'snapshotUid',
          'volume',
          'volumeUid',
          'replica',
          'replicaUid',
          'storageNode',
          'pool',
          'sizeBytes',
          'attempt',
        ],
        'x-kubernetes-validations': [
          {
            rule: 'self.snapshot == oldSelf.snapshot && self.snapshotUid == oldSelf.snapshotUid && self.volume == oldSelf.volume && self.volumeUid == oldSelf.volumeUid && self.replica == oldSelf.replica && self.replicaUid == oldSelf.replicaUid && self.storageNode == oldSelf.storageNode && self.pool == oldSelf.pool && self.sizeBytes == oldSelf.sizeBytes && self.attempt == oldSelf.attempt',
            message: "what a copy is of can't be changed",
          },
          { rule: 'oldSelf.take == "" || self.take == oldSelf.take', message: 'a copy is taken once' },
        ],
        properties: {
          snapshot: { type: 'string', minLength: 1, maxLength: 100 },
          snapshotUid: { type: 'string', minLength: 1, maxLength: 64 },
          volume: { type: 'string', minLength: 1, maxLength: 253 },
          volumeUid: { type: 'string', minLength: 1, maxLength: 64 },
          replica: {
            type: 'string',
            minLength: 1,
            maxLength: 253,
            description: 'The VolumeReplica that it is a copy of.',
          },
          replicaUid: { type: 'string', minLength: 1, maxLength: 64 },
          storageNode: { type: 'string', minLength: 1, maxLength: 253 },
          pool: { type: 'string', minLength: 1, maxLength: 32 },
          sizeBytes: { type: 'integer', format: 'int64', minimum: 1048576, description: "The volume's capacity." },
          provisioning: { type: 'string', enum: ['Thin', 'Thick'], default: 'Thin', description: "The replica's." },
          attempt: { type: 'integer', format: 'int32', minimum: 1 },
          take: {
            type: 'string',
            default: '',
            maxLength: 128,
            description:
              'The standstill in which it is to be taken; empty while it is only to be prepared. It names one standstill of the volume for ever.',
          },
        },
      },
      status: {
        type: 'object',
        properties: {
          phase: { type: 'string', enum: ['Pending', 'Prepared', 'Taken', 'Erasing', 'Failed'] },
          message: { type: 'string', maxLength: 1024 },
          take: { type: 'string', maxLength: 128, description: 'The spec.take for which it was taken.' },
          usedBytes: { type: 'integer', format: 'int64', minimum: 0 },
        },
      },
    },
  },
  StorageNode: {
    type: 'object',
    description: 'A machine that stores replicas. Its labels are the topology that placements speak about.',
    required: ['spec'],
    properties: {
      spec: {
        type: 'object',
        required: ['addresses', 'pools'],
        properties: {
          addresses: {
            type: 'array',
            description: 'Where the NVMe/TCP target of this node listens.',
            minItems: 1,
            maxItems: 4,
            'x-kubernetes-list-type': 'atomic',
            items: {
              type: 'object',
              required: ['ip'],
              properties: {
                ip: { type: 'string', minLength: 2, maxLength: 45, description: 'IPv4 or IPv6 address.' },
                port: { type: 'integer', format: 'int32', minimum: 1, maximum: 65535, default: 4420 },
              },
            },
          },
          pools: {
            type: 'array',
            description:
              'LVM thin pools. Each is made from empty disks (devices) or found in an existing volume group (volumeGroup).',
            minItems: 1,
            maxItems: 16,
            'x-kubernetes-list-type': 'map',
            'x-kubernetes-list-map-keys': ['name'],
            items: {
              type: 'object',
              required: ['name'],
              'x-kubernetes-validations': [
                {
                  rule: 'has(self.devices) != has(self.volumeGroup)',
                  message:
                    'give either devices (empty disks to make the pool from) or volumeGroup (an existing one), not both',
                },
              ],
              properties: {
                name: { type: 'string', pattern: '^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$', maxLength: 32 },
                devices: {
                  type: 'array',
                  minItems: 1,
                  maxItems: 64,
                  'x-kubernetes-list-type': 'set',
                  items: { type: 'string', pattern: '^/dev/.+', maxLength: 256 },
                },
                volumeGroup: { type: 'string', pattern: '^[a-zA-Z0-9+_.][a-zA-Z0-9+_.-]*$', maxLength: 127 },
              },
            },
          },
          cordoned: {
            type: 'boolean',
            default: false,
            description: 'No new replica is placed here; those that exist stay.',
          },
          draining: {
            type: 'boolean',
            default: false,
            description: 'Replicas are to move elsewhere; no new replica is placed here.',
          },
        },
      },
      status: {
        type: 'object',
        properties: {
          agentVersion: { type: 'string' },
          bootId: { type: 'string', description: "The kernel's boot id, so that a reboot is seen." },
          summary: {
            type: 'object',
            description: 'The sums over all pools, for people.',
            properties: { capacity: { type: 'string' }, used: { type: 'string' }, provisioned: { type: 'string' } },
          },
          pools: {
            type: 'array',
            'x-kubernetes-list-type': 'map',
            'x-kubernetes-list-map-keys': ['name'],
            items: {
              type: 'object',
              required: ['name', 'capacityBytes', 'usedBytes', 'provisionedBytes'],
              properties: {
                name: { type: 'string' },
                capacityBytes: { type: 'integer', format: 'int64', minimum: 0 },
                usedBytes: { type: 'integer', format: 'int64', minimum: 0 },
                provisionedBytes: { type: 'integer', format: 'int64', minimum: 0 },
              },
            },
          },
          unknownReplicas: {
            type: 'array',
            description:
              'Replicas on the disks of this node for which there is no object; `holdfast recover` takes them up.',
            maxItems: 512,
            'x-kubernetes-list-type': 'map',
            'x-kubernetes-list-map-keys': ['logicalVolume'],
            items: {
              type: 'object',
              required: ['logicalVolume', 'replicaUid', 'volumeUid', 'lineage', 'epoch'],
              properties: {
                logicalVolume: { type: 'string', description: 'Volume group and name.' },
                pool: { type: 'string' },
                volume: { type: 'string', description: "The volume's name." },
                volumeUid: { type: 'string' },
                replica: { type: 'string', description: "The replica's name." },
                replicaUid: { type: 'string' },
                sizeBytes: { type: 'integer', format: 'int64', minimum: 0, description: "The volume's capacity." },
                provisioning: { type: 'string', enum: ['Thin', 'Thick'] },
                erased: {
                  type: 'boolean',
                  description: 'Its blocks have been given back; there is nothing to recover.',
                },
                lineage: {
                  type: 'integer',
                  format: 'int64',
                  minimum: 1,
                  description: 'The history that the data belongs to.',
                },
                epoch: {
                  type: 'integer',
                  format: 'int64',
                  minimum: 0,
                  description: 'The last epoch under which it was exported.',
                },
                host: { type: 'string', description: 'The host to which it was exported then.' },
                beganWithCopy: {
                  type: 'boolean',
                  description: 'It was made from a copy of a snapshot, and never was empty.',
                },
                blank: {
                  type: 'boolean',
                  description: 'There is no record in front of the data: no client has started the volume from it.',
                },
                record: {
                  type: 'object',
                  description: "The volume's record as its last client left it in front of the data.",
                  required: ['lineage', 'epoch', 'generation', 'inSync'],
                  properties: {
                    lineage: { type: 'integer', format: 'int64', minimum: 1 },
                    epoch: { type: 'integer', format: 'int64', minimum: 0 },
                    generation: { type: 'integer', format: 'int64', minimum: 0 },
                    base: {
                      type: 'integer',
                      format: 'int64',
                      minimum: 0,
                      description:
                        'Written without the API server: the number of the record that it had accepted last.',
                    },
                    inSync: {
                      type: 'array',
                      maxItems: 8,
                      'x-kubernetes-list-type': 'set',
                      items: { type: 'string', maxLength: 253 },
                    },
                  },
                },
              },
            },
          },
          conditions: {
            type: 'array',
            'x-kubernetes-list-type': 'map',
            'x-kubernetes-list-map-keys': ['type'],
            items: {
              type: 'object',
              required: ['type', 'status', 'lastTransitionTime', 'reason', 'message'],
              properties: {
                type: { type: 'string', maxLength: 316 },
                status: { type: 'string', enum: ['True', 'False', 'Unknown'] },
                observedGeneration: { type: 'integer', format: 'int64', minimum: 0 },
                lastTransitionTime: { type: 'string', format: 'date-time' },
                reason: { type: 'string', minLength: 1, maxLength: 1024 },
                message: { type: 'string', maxLength: 32768 },
              },
            },
          },
        },
      },
    },
  },
  VolumeConnection: {
    type: 'object',
    description: "A volume on the client node that uses it - the client's point of view of the legs.",
    required: ['spec'],
    properties: {
      spec: {
        type: 'object',
        required: ['volume', 'volumeUid', 'node', 'epoch', 'sizeBytes', 'legTimeout', 'raidDisks', 'legs'],
        'x-kubernetes-validations': [
          {
            rule: 'self.volume == oldSelf.volume && self.volumeUid == oldSelf.volumeUid && self.node == oldSelf.node',
            message: "volume, volumeUid and node can't be changed",
          },
          { rule: 'self.epoch >= oldSelf.epoch', message: 'the epoch never falls' },
        ],
        properties: {
          volume: { type: 'string', minLength: 1, maxLength: 253 },
          volumeUid: { type: 'string', minLength: 1, maxLength: 64 },
          node: { type: 'string', minLength: 1, maxLength: 253 },
          epoch: { type: 'integer', format: 'int64', minimum: 1 },
          sizeBytes: {
            type: 'integer',
            format: 'int64',
            minimum: 1048576,
            description: 'The size that the array is to have. Every in-sync replica has room for it.',
            'x-kubernetes-validations': [{ rule: 'self >= oldSelf', message: 'sizeBytes only grows' }],
          },
          legTimeout: { type: 'string', pattern: '^([0-9]+(\\.[0-9]+)?(ms|s|m|h))+$', maxLength: 32 },
          onControlPlaneLoss: {
            type: 'string',
            default: 'Wait',
            pattern: '^(Wait|Continue after ([0-9]+(\\.[0-9]+)?(ms|s|m|h))+)$',
            maxLength: 64,
          },
          onSlowLeg: {
            type: 'string',
            default: 'Report',
            pattern: '^(Report|Drop after ([0-9]+(\\.[0-9]+)?(ms|s|m|h))+)$',
            maxLength: 64,
          },
          raidDisks: { type: 'integer', format: 'int32', minimum: 1, maximum: 8 },
          suspend: {
            type: 'object',
            description:
              'The client is to let no write through for a moment, so that a snapshot can be taken of all replicas at once.',
            required: ['request'],
            'x-kubernetes-validations': [
              {
                rule: "oldSelf.release == '' || self.request != oldSelf.request || (self.release == oldSelf.release && has(self.copies) == has(oldSelf.copies) && (!has(self.copies) || self.copies == oldSelf.copies))",
                message: 'what counts of a standstill is fixed with its release',
              },
            ],
            properties: {
              request: {
                type: 'string',
                minLength: 1,
                maxLength: 128,
                description: 'Names the request; it is answered once.',
              },
              hold: {
                type: 'boolean',
                default: false,
                description: 'Writes are held from now on; before that the client only gets ready for it.',
              },
              limitMs: {
                type: 'integer',
                format: 'int32',
                minimum: 100,
                maximum: 60000,
                default: 4000,
                description: 'Writes are held no longer than this, whatever becomes of the snapshot.',
              },
              release: {
                type: 'string',
                default: '',
                maxLength: 128,
                description:
                  'The token of the standstill that may end - all copies of it that will ever count have been taken.',
              },
              copies: {
                type: 'array',
                description: 'Those copies (SnapshotReplica).',
                maxItems: 8,
                'x-kubernetes-list-type': 'set',
                items: { type: 'string', maxLength: 253 },
              },
            },
          },
          legs: {
            type: 'array',
            maxItems: 8,
            'x-kubernetes-list-type': 'map',
            'x-kubernetes-list-map-keys': ['replica'],
            items: {
              type: 'object',
              required: ['replica', 'uid', 'nqn', 'address', 'port'],
              properties: {
                replica: { type: 'string' },
                uid: {
                  type: 'string',
                  description: 'The UID of the VolumeReplica, which is also the UUID of its NVMe namespace.',
                },
                nqn: { type: 'string' },
                address: { type: 'string' },
                port: { type: 'integer', format: 'int32' },
                drained: {
                  type: 'integer',
                  format: 'int64',
                  minimum: 0,
                  description: "The replica's status.drained. The leg joins once it has reached status.legs[].drain.",
                },
              },
            },
          },
        },
      },
      status: {
        type: 'object',
        properties: {
          phase: { type: 'string', enum: ['Connecting', 'Connected', 'Waiting', 'Releasing', 'Fenced', 'Failed'] },
          message: { type: 'string', maxLength: 1024 },
          devicePath: { type: 'string' },
          epoch: { type: 'integer', format: 'int64', minimum: 0, description: 'The epoch under which the array runs.' },
          bootId: { type: 'string' },
          sizeBytes: { type: 'integer', format: 'int64', minimum: 0, description: 'The size of the array that runs.' },
          arrayState: { type: 'string', description: "md's array_state." },
          legSummary: { type: 'string' },
          syncSummary: { type: 'string' },
          legs: {
            type: 'array',
            maxItems: 8,
            'x-kubernetes-list-type': 'map',
            'x-kubernetes-list-map-keys': ['replica'],
            items: {
              type: 'object',
              required: ['replica', 'state'],
              'x-kubernetes-validations': [
                {
                  rule: '!has(oldSelf.drain) || (has(self.drain) && self.drain >= oldSelf.drain)',
                  message: 'drain never falls',
                },
              ],
              properties: {
                replica: { type: 'string', maxLength: 253 },
                drain: {
                  type: 'integer',
                  format: 'int64',
                  minimum: 0,
                  description:
                    'The client asks that all I/O it has sent to this leg until now be proved to have ended. The leg does not join before that.',
                },
                state: {
                  type: 'string',
                  enum: ['Connecting', 'InSync', 'Stalled', 'Syncing', 'Unreachable', 'Failed'],
                },
                path: {
                  type: 'string',
                  description: 'State of the NVMe controller: live, connecting, ...; empty when there is none.',
                },
                since: { type: 'string', format: 'date-time' },
                latencyMs: {
                  type: 'number',
                  minimum: 0,
                  description: 'Mean time of an I/O on this leg in the last sample.',
                },
                sync: {
                  type: 'object',
                  required: ['kind', 'doneBytes', 'totalBytes'],
                  properties: {
                    kind: { type: 'string', enum: ['Bitmap', 'Full'] },
                    doneBytes: { type: 'integer', format: 'int64', minimum: 0 },
                    totalBytes: { type: 'integer', format: 'int64', minimum: 0 },
                    startedAt: { type: 'string', format: 'date-time' },
                  },
                },
                message: { type: 'string', maxLength: 1024 },
              },
            },
          },
          suspension: {
            type: 'object',
            description: 'The answer to spec.suspend.',
            required: ['request', 'token', 'state'],
            properties: {
              request: { type: 'string', maxLength: 128 },
              token: {
                type: 'string',
                maxLength: 128,
                description: 'Names this one standstill; no other ever bears it.',
              },
              state: {
                type: 'string',
                enum: ['Ready', 'Suspended', 'Released', 'Broken'],
                description:
                  '`Ready`: writes can be held at once. `Suspended`: no write is under way, and none is let through. `Released`: it had lasted without a break until spec.suspend.release was read. `Broken`: it ended before that, or never was.',
              },
              replicas: {
                type: 'array',
                description: 'The replicas that held the same data during the standstill.',
                maxItems: 8,
                'x-kubernetes-list-type': 'set',
                items: { type: 'string', maxLength: 253 },
              },
              heldMs: { type: 'integer', format: 'int64', minimum: 0, description: 'For how long writes waited.' },
              message: { type: 'string', maxLength: 1024 },
            },
          },
          lastDrop: {
            type: 'object',
            description:
              'The last time a leg was dropped - the order proves that the record came before the acknowledgement.',
            required: ['replica', 'detectedAt', 'recordedAt', 'releasedAt'],
            properties: {
              replica: { type: 'string' },
              detectedAt: { type: 'string', format: 'date-time', description: 'When the leg was seen to answer last.' },
              recordedAt: {
                type: 'string',
                format: 'date-time',
                description: 'When the API server had accepted the in-sync set without it.',
              },
              releasedAt: { type: 'string', format: 'date-time', description: 'When writes were let go on.' },
            },
          },
          lastSync: {
            type: 'object',
            description: 'The last finished resync or full sync of a leg.',
            required: ['replica', 'kind', 'startedAt', 'finishedAt', 'dirtyBytes', 'copiedBytes'],
            properties: {
              replica: { type: 'string' },
              kind: { type: 'string', enum: ['Bitmap', 'Full'] },
              startedAt: { type: 'string', format: 'date-time' },
              finishedAt: { type: 'string', format: 'date-time' },
              dirtyBytes: {
                type: 'integer',
                format: 'int64',
                minimum: 0,
                description: 'What the bitmap said was to be copied, in whole chunks.',
              },
              copiedBytes: {
                type: 'integer',
                format: 'int64',
                minimum: 0,
                description: 'What was written to the leg during the sync.',
              },
            },
          },
          conditions: {
            type: 'array',
            'x-kubernetes-list-type': 'map',
            'x-kubernetes-list-map-keys': ['type'],
            items: {
              type: 'object',
              required: ['type', 'status', 'lastTransitionTime', 'reason', 'message'],
              properties: {
                type: { type: 'string', maxLength: 316 },
                status: { type: 'string', enum: ['True', 'False', 'Unknown'] },
                observedGeneration: { type: 'integer', format: 'int64', minimum: 0 },
                lastTransitionTime: { type: 'string', format: 'date-time' },
                reason: { type: 'string', minLength: 1, maxLength: 1024 },
                message: { type: 'string', maxLength: 32768 },
              },
            },
          },
        },
      },
    },
  },
  VolumeReplica: {
    type: 'object',
    description: 'One copy of a volume on one storage node, exported as an NVMe subsystem of its own.',
    required: ['spec'],
    properties: {
      spec: {
        type: 'object',
        required: ['volume', 'volumeUid', 'storageNode', 'pool', 'sizeBytes'],
        'x-kubernetes-validations': [
          {
            rule: 'self.volume == oldSelf.volume && self.volumeUid == oldSelf.volumeUid && self.storageNode == oldSelf.storageNode && self.pool == oldSelf.pool',
            message: "volume, volumeUid, storageNode and pool can't be changed",
          },
          {
            rule: 'self.epoch > oldSelf.epoch || (self.epoch == oldSelf.epoch && self.hostNqn == oldSelf.hostNqn)',
            message: 'the epoch never falls, and another host needs a higher epoch',
          },
          { rule: 'self.drain >= oldSelf.drain', message: 'drain never falls' },
          { rule: 'self.lineage >= oldSelf.lineage', message: 'the lineage never falls' },
          {
            rule: 'has(self.adopt) == has(oldSelf.adopt) && (!has(self.adopt) || self.adopt == oldSelf.adopt)',
            message: "adopt can't be changed",
          },
          {
            rule: 'has(self.source) == has(oldSelf.source) && (!has(self.source) || self.source == oldSelf.source)',
            message: "source can't be changed",
          },
          {
            rule: "oldSelf.state != 'Orphan' || self.state == 'Orphan'",
            message: 'an orphan never becomes active again',
          },
        ],
        properties: {
          volume: { type: 'string', minLength: 1, maxLength: 253 },
          volumeUid: { type: 'string', minLength: 1, maxLength: 64 },
          storageNode: { type: 'string', minLength: 1, maxLength: 253 },
          pool: { type: 'string', minLength: 1, maxLength: 32 },
          sizeBytes: {
            type: 'integer',
            format: 'int64',
            minimum: 1048576,
            description: "The volume's capacity; the logical volume is larger by the leg's header.",
            'x-kubernetes-validations': [{ rule: 'self >= oldSelf', message: 'sizeBytes only grows' }],
          },
          provisioning: { type: 'string', enum: ['Thin', 'Thick'], default: 'Thin' },
          state: { type: 'string', enum: ['Active', 'Orphan'], default: 'Active' },
          hostNqn: {
            type: 'string',
            default: '',
            maxLength: 223,
            description: 'The only host that may connect; empty for none.',
          },
          epoch: {
            type: 'integer',
            format: 'int64',
            minimum: 0,
            default: 0,
            description: 'The attachment epoch that hostNqn belongs to.',
          },
          drain: {
            type: 'integer',
            format: 'int64',
            minimum: 0,
            default: 0,
            description:
              'Grows each time the client asks that all earlier I/O on this replica be proved to have ended. The export is then removed, drained and made anew.',
          },
          lineage: {
            type: 'integer',
            format: 'int64',
            minimum: 1,
            default: 1,
            description: "The history that the data on this replica belongs to, by the volume's record.",
          },
          source: {
            type: 'object',
            description:
              'The copy of a snapshot, in the same pool, that the replica begins with; without one it begins empty.',
            required: ['copyUid'],
            properties: {
              copyUid: { type: 'string', minLength: 1, maxLength: 64, description: 'The UID of the SnapshotReplica.' },
            },
          },
          adopt: {
            type: 'object',
            description:
              'The replica takes over a logical volume that is on the node already, made for an object that is lost. It never makes an empty one. `holdfast recover` writes it.',
            required: ['replicaUid', 'volumeUid'],
            properties: {
              replicaUid: { type: 'string', minLength: 1, maxLength: 64 },
              volumeUid: { type: 'string', minLength: 1, maxLength: 64 },
            },
          },
        },
      },
      status: {
        type: 'object',
        properties: {
          phase: { type: 'string', enum: ['Pending', 'Ready', 'Erasing', 'Failed'] },
          message: { type: 'string', maxLength: 1024 },
          nqn: { type: 'string' },
          address: { type: 'string' },
          port: { type: 'integer', format: 'int32' },
          fencedEpoch: {
            type: 'integer',
            format: 'int64',
            minimum: 0,
            description: 'Every host of an earlier epoch is proved to be gone.',
          },
          drained: {
            type: 'integer',
            format: 'int64',
            minimum: 0,
            description: 'All I/O that reached the replica before this spec.drain is proved to have ended.',
          },
          bootId: { type: 'string', description: 'The boot in which this status was observed.' },
          sizeBytes: {
            type: 'integer',
            format: 'int64',
            minimum: 0,
            description:
              'The capacity that the logical volume has room for. It follows spec.sizeBytes once the volume has grown.',
          },
          usedBytes: { type: 'integer', format: 'int64', minimum: 0 },
          disk: {
            type: 'object',
            description: 'What the disk itself knows. The record was looked at before the last export.',
            required: ['lineage', 'epoch'],
            properties: {
              lineage: {
                type: 'integer',
                format: 'int64',
                minimum: 1,
                description: 'The history that the data belongs to.',
              },
              epoch: {
                type: 'integer',
                format: 'int64',
                minimum: 0,
                description: 'The last epoch under which it was exported.',
              },
              host: { type: 'string', description: 'The host to which it was exported then.' },
              blank: {
                type: 'boolean',
                description: 'There is no record in front of the data: no client has started the volume from it.',
              },
              record: {
                type: 'object',
                description: "The volume's record as its last client left it in front of the data.",
                required: ['lineage', 'epoch', 'generation', 'inSync'],
                properties: {
                  lineage: { type: 'integer', format: 'int64', minimum: 1 },
                  epoch: { type: 'integer', format: 'int64', minimum: 0 },
                  generation: { type: 'integer', format: 'int64', minimum: 0 },
                  base: {
                    type: 'integer',
                    format: 'int64',
                    minimum: 0,
                    description: 'Written without the API server: the number of the record that it had accepted last.',
                  },
                  inSync: {
                    type: 'array',
                    maxItems: 8,
                    'x-kubernetes-list-type': 'set',
                    items: { type: 'string', maxLength: 253 },
                  },
                },
              },
            },
          },
          conditions: {
            type: 'array',
            'x-kubernetes-list-type': 'map',
            'x-kubernetes-list-map-keys': ['type'],
            items: {
              type: 'object',
              required: ['type', 'status', 'lastTransitionTime', 'reason', 'message'],
              properties: {
                type: { type: 'string', maxLength: 316 },
                status: { type: 'string', enum: ['True', 'False', 'Unknown'] },
                observedGeneration: { type: 'integer', format: 'int64', minimum: 0 },
                lastTransitionTime: { type: 'string', format: 'date-time' },
                reason: { type: 'string', minLength: 1, maxLength: 1024 },
                message: { type: 'string', maxLength: 32768 },
              },
            },
          },
        },
      },
    },
  },
} as const satisfies Record<string, Schema>;
