import { createHash } from 'node:crypto';

/** Who a VM is: the same name gives the same identity, today and after a power cycle. */
export interface Identity {
  readonly name: string;
  /** Its address in the lab's network, 10.77.0.x. */
  readonly address: string;
  readonly mac: string;
  readonly hostNqn: string;
  readonly hostId: string;
  readonly machineId: string;
}

/** The host (and the control plane) in the lab's network. */
export const HOST_ADDRESS = '10.77.0.1';
export const PREFIX_LENGTH = 24;

/** The identity of the VM with this number, 1 to 200. */
export function identityOf(name: string, index: number): Identity {
  const hash = createHash('sha256').update(`holdfast-lab:${name}`).digest('hex');
  // RFC 9562, version 8 (custom) and the usual variant
  const uuid = [
    hash.slice(0, 8),
    hash.slice(8, 12),
    `8${hash.slice(13, 16)}`,
    `a${hash.slice(17, 20)}`,
    hash.slice(20, 32),
  ].join('-');
  return {
    name,
    address: `10.77.0.${10 + index}`,
    mac: `52:54:00:77:00:${(10 + index).toString(16).padStart(2, '0')}`,
    hostNqn: `nqn.2014-08.org.nvmexpress:uuid:${uuid}`,
    hostId: uuid,
    machineId: hash.slice(32),
  };
}

/**
 * The script that turns a guest, fresh from the saved state, into this VM. `hosts` are lines for /etc/hosts; `withApp` says
 * whether its second disk holds our programs. `beforeLinkUp` is a script that is run while the network is still down.
 */
export function identityScript(
  identity: Identity,
  hosts: readonly string[],
  withApp: boolean,
  beforeLinkUp: string,
): string {
  return [
    'set -e',
    `echo ${identity.name} > /etc/hostname; hostname ${identity.name}`,
    `echo ${identity.machineId} > /etc/machine-id`,
    'mkdir -p /etc/nvme',
    `echo ${identity.hostNqn} > /etc/nvme/hostnqn; echo ${identity.hostId} > /etc/nvme/hostid`,
    `printf '%s\\n' '127.0.0.1 localhost' ${hosts.map((line) => `'${line}'`).join(' ')} > /etc/hosts`,
    `ip link set eth0 address ${identity.mac}`,
    `ip addr add ${identity.address}/${PREFIX_LENGTH} dev eth0`,
    beforeLinkUp,
    'ip link set eth0 up',
    `ip route add default via ${HOST_ADDRESS}`,
    ...(withApp ? ['mount -t erofs -o ro /dev/vdb /opt/holdfast'] : []),
  ].join('\n');
}
