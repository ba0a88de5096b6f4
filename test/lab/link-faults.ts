/** What is wrong with a VM's link, besides its being pulled. */
export interface LinkState {
  /** Everything that arrives at the VM is lost. */
  readonly losesInbound: boolean;
  /** Everything that the VM sends is lost. */
  readonly losesOutbound: boolean;
  /** Packets from these addresses are lost at the VM's door. */
  readonly deafTo: readonly string[];
  /** Packets of the VM to these addresses are lost. */
  readonly muteTo: readonly string[];
  readonly impairment: Impairment;
}

/** Laid on what the VM sends. */
export interface Impairment {
  readonly delayMs?: number;
  readonly jitterMs?: number;
  /** 0 to 100. */
  readonly lossPercent?: number;
  /** Rate limit in Mbit/s. */
  readonly rateMbit?: number;
}

export const HEALTHY_LINK: LinkState = {
  losesInbound: false,
  losesOutbound: false,
  deafTo: [],
  muteTo: [],
  impairment: {},
};

/**
 * The script that gives eth0 of a guest exactly this state. It runs in the guest, because the guest's kernel is ours and has
 * every classifier, while the host's may have none (tc-flower(8), tc-netem(8)). What leaves is lost in netem rather than by
 * a filter where possible: the guest's TCP sees a filter's verdict, and nothing of netem's.
 */
export function linkScript(state: LinkState): string {
  const lines = ['tc qdisc del dev eth0 root 2>/dev/null || true', 'tc qdisc del dev eth0 clsact 2>/dev/null || true'];
  const netem = netemArguments(state.losesOutbound ? { ...state.impairment, lossPercent: 100 } : state.impairment);
  if (netem !== '') lines.push(`tc qdisc add dev eth0 root netem ${netem}`);
  const ingress = [
    ...(state.losesInbound ? ['protocol all matchall action drop'] : []),
    ...state.deafTo.map((address) => `protocol ip flower src_ip ${address} action drop`),
  ];
  const egress = state.muteTo.map((address) => `protocol ip flower dst_ip ${address} action drop`);
  if (ingress.length + egress.length > 0) lines.push('tc qdisc add dev eth0 clsact');
  lines.push(...ingress.map((filter) => `tc filter add dev eth0 ingress ${filter}`));
  lines.push(...egress.map((filter) => `tc filter add dev eth0 egress ${filter}`));
  return lines.join('\n');
}

function netemArguments(impairment: Impairment): string {
  const { delayMs, jitterMs, lossPercent, rateMbit } = impairment;
  const parts: string[] = [];
  if (delayMs !== undefined) parts.push(`delay ${delayMs}ms${jitterMs === undefined ? '' : ` ${jitterMs}ms`}`);
  if (lossPercent !== undefined) parts.push(`loss ${lossPercent}%`);
  if (rateMbit !== undefined) parts.push(`rate ${rateMbit}mbit`);
  // room for a long fat pipe: the default of 1000 packets would add losses that nobody asked for
  return parts.length === 0 ? '' : `limit 10000 ${parts.join(' ')}`;
}
