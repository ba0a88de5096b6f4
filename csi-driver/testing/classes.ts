/** Parameters of StorageClasses, right and wrong ones: CreateVolume and the admission policy have to agree on each. */
export const goodParameters: readonly Readonly<Record<string, string>>[] = [
  {},
  { replicas: '1' },
  { replicas: '8', provisioning: 'Thick' },
  { legTimeout: '250ms', replicaTimeout: '1m30s' },
  { legTimeout: '1.5h', replicaTimeout: '576h' },
  { onControlPlaneLoss: 'Wait', onSlowLeg: 'Report' },
  { onControlPlaneLoss: 'Continue after 30s', onSlowLeg: 'Drop after 1m' },
  { placement: '' },
  { placement: 'distinct(topology.kubernetes.io/zone)' },
  {
    placement:
      'distinct(zone); in(media, nvme|ssd); prefer(50) distinct(rack); prefer near(client); prefer spread(capacity);',
  },
  {
    placement:
      ' same( room ) ;\n notIn(retired,"") ; exists(node-role.kubernetes.io/storage);prefer(007)near(client , zone)',
  },
  { accessFrom: 'topology.kubernetes.io/region', allowOverride: 'replicas' },
  { allowOverride: 'legTimeout,replicas, placement' },
  { 'csi.storage.k8s.io/fstype': 'xfs' },
];

/** Wrong ones, and what is said about them. Of the last column the policy need not know: it can't count or compare. */
export const badParameters: readonly (readonly [
  parameters: Readonly<Record<string, string>>,
  driverSays: string,
  policySays: string | undefined,
])[] = [
  [
    { replicas: '0' },
    'replicas is "0": expected a number from 1 to 8',
    'replicas is "0": expected a number from 1 to 8',
  ],
  [{ replicas: '9' }, 'from 1 to 8', 'replicas is "9"'],
  [{ replicas: 'two' }, 'replicas is "two"', 'replicas is "two"'],
  [{ replicas: '2.5' }, 'replicas is "2.5"', 'replicas is "2.5"'],
  [
    { replicaTimeout: '10 minutes' },
    'replicaTimeout is "10 minutes": expected a duration such as',
    'expected a duration',
  ],
  [
    { legTimeout: '3' },
    'legTimeout is "3": expected a duration such as 3s',
    'legTimeout is "3": expected a duration such as 3s',
  ],
  [{ legTimeout: '0s' }, 'legTimeout is "0s": expected more than 0', 'legTimeout is "0s": expected a duration'],
  [{ legTimeout: '600h' }, 'is too long; the longest is 24 days', 'legTimeout is "600h"'],
  [
    { onControlPlaneLoss: 'Continue' },
    'onControlPlaneLoss is "Continue": expected "Wait" or, for example',
    'onControlPlaneLoss is',
  ],
  [{ onControlPlaneLoss: 'Continue after 600h' }, 'too long', 'onControlPlaneLoss is'],
  [{ onSlowLeg: 'Drop after x' }, 'onSlowLeg is "Drop after x": expected "Report" or', 'onSlowLeg is "Drop after x"'],
  [{ provisioning: 'thin' }, 'provisioning is "thin": expected Thin or Thick', 'expected Thin or Thick'],
  [{ placement: 'distinct(zone' }, 'placement, column 14', 'placement is "distinct(zone": expected a placement'],
  [{ placement: 'distnct(zone)' }, 'did you mean distinct?', 'placement is "distnct(zone)"'],
  [{ placement: 'in(media, nvme, ssd)' }, 'values are separated by "|"', 'placement is'],
  [{ placement: 'near(client)' }, 'write "prefer near(...)"', 'placement is'],
  [{ placement: 'prefer(0) distinct(rack)' }, 'a weight from 1 to 100', 'placement is'],
  [{ placement: 'prefer(101) distinct(rack)' }, 'a weight from 1 to 100', 'placement is'],
  [{ placement: 'in(media, nvme|nvme)' }, 'a value that is not yet in the list', undefined],
  [{ accessFrom: 'zone a' }, 'accessFrom is "zone a": expected the key of a node label', 'accessFrom is "zone a"'],
  [{ allowOverride: 'size' }, 'allowOverride is "size": expected names of parameters', 'allowOverride is "size"'],
  [{ allowOverride: 'allowOverride' }, 'expected names of parameters', 'expected names of parameters'],
  [
    { fsType: 'ext4' },
    'unknown parameter "fsType"; the filesystem is csi.storage.k8s.io/fstype',
    'unknown parameter "fsType"',
  ],
  [
    { replica: '2' },
    'unknown parameter "replica"; the known ones are replicas, placement, legTimeout',
    'unknown parameter "replica"',
  ],
];
