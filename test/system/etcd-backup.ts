/** A backup of what the API server has of Holdfast, taken and restored below it, in etcd: no rule of the API stands in its way. */
const PREFIX = '/registry/holdfast.dev/';

interface KeyValue {
  /** Base64, as etcd's JSON gateway has it. */
  readonly key: string;
  readonly value: string;
}

async function call(etcdUrl: string, path: string, body: object): Promise<{ readonly kvs?: readonly KeyValue[] }> {
  const answer = await fetch(`${etcdUrl}/v3/kv/${path}`, { method: 'POST', body: JSON.stringify(body) });
  if (!answer.ok) throw new Error(`etcd ${path}: ${answer.status} ${await answer.text()}`);
  return (await answer.json()) as { kvs?: KeyValue[] };
}

const base64 = (text: string): string => Buffer.from(text).toString('base64');
/** The first key after all those that begin with the prefix. */
const END = PREFIX.replace(/\/$/, '0');

/** All objects of Holdfast as etcd has them now. */
export async function backUp(etcdUrl: string): Promise<readonly KeyValue[]> {
  const { kvs = [] } = await call(etcdUrl, 'range', { key: base64(PREFIX), range_end: base64(END) });
  return kvs;
}

/** Puts a backup in place of what is there. The API server is to be stopped meanwhile: it would go on from its caches. */
export async function restore(etcdUrl: string, backup: readonly KeyValue[]): Promise<void> {
  await call(etcdUrl, 'deleterange', { key: base64(PREFIX), range_end: base64(END) });
  for (const { key, value } of backup) await call(etcdUrl, 'put', { key, value });
}
