import { LabError } from './errors.ts';
import type { Peer } from './faults.ts';
import type { Lab } from './lab.ts';

interface FaultWord {
  readonly usage: string;
  readonly help: string;
  readonly run: (lab: Lab, args: readonly string[]) => Promise<string>;
}

/** The faults as a person types them: `fault cut s1`. */
export const faultWords: Readonly<Record<string, FaultWord>> = {
  'power-off': {
    usage: 'VM',
    help: 'pull the plug',
    run: async (lab, args) => {
      await lab.faults.powerOff(lab.vm(word(args, 0, 'VM')));
      return `${args[0]} is off`;
    },
  },
  'power-on': {
    usage: 'VM',
    help: 'power back: a fresh boot with its disks',
    run: async (lab, args) => {
      await lab.faults.powerOn(lab.vm(word(args, 0, 'VM')));
      return `${args[0]} is on`;
    },
  },
  cut: {
    usage: 'VM [to|from]',
    help: 'cut it off everything; only what comes to it, or only what comes from it',
    run: async (lab, args) => {
      const vm = lab.vm(word(args, 0, 'VM'));
      if (args[1] === undefined) await lab.faults.cutLink(vm);
      else await lab.faults.cutOneWay(vm, oneOf(args[1], { to: 'toVm', from: 'fromVm' }, 'direction'));
      return `${vm.name} is cut off`;
    },
  },
  'cut-between': {
    usage: 'VM (VM|control-plane) [one-way]',
    help: 'cut only the link between two; one-way: only what the first sends to the second',
    run: async (lab, args) => {
      const a = lab.vm(word(args, 0, 'VM'));
      const b = peer(lab, word(args, 1, 'VM or control-plane'));
      const oneWay = args[2] !== undefined && oneOf(args[2], { 'one-way': true }, 'direction');
      await lab.faults.cutBetween(a, b, oneWay ? { from: a } : undefined);
      return `${args[0]} and ${args[1]} are cut off from one another${oneWay ? ' (one way)' : ''}`;
    },
  },
  'restore-between': {
    usage: 'VM (VM|control-plane)',
    help: 'mend the link between two',
    run: async (lab, args) => {
      await lab.faults.restoreBetween(lab.vm(word(args, 0, 'VM')), peer(lab, word(args, 1, 'VM or control-plane')));
      return `${args[0]} and ${args[1]} reach one another`;
    },
  },
  restore: {
    usage: 'VM',
    help: 'mend everything about its link',
    run: async (lab, args) => {
      await lab.faults.restoreLink(lab.vm(word(args, 0, 'VM')));
      return `the link of ${args[0]} is as new`;
    },
  },
  impair: {
    usage: 'VM [delay=MS] [jitter=MS] [loss=PERCENT] [rate=MBIT]',
    help: 'on what it sends; without values: end it',
    run: async (lab, args) => {
      const impairment = Object.fromEntries(args.slice(1).map(impairmentOf));
      await lab.faults.impair(lab.vm(word(args, 0, 'VM')), impairment);
      return `${args[0]}: ${args.length > 1 ? args.slice(1).join(', ') : 'no delay, no loss'}`;
    },
  },
  kill: {
    usage: 'VM PATTERN [SIGNAL]',
    help: 'signal the processes whose command line matches; default KILL',
    run: async (lab, args) => {
      const count = await lab.faults.killProgram(lab.vm(word(args, 0, 'VM')), word(args, 1, 'PATTERN'), args[2]);
      return `${count} process${count === 1 ? '' : 'es'} signalled`;
    },
  },
  'break-disk': {
    usage: 'VM [read|write|all]',
    help: 'its first data disk answers with I/O errors',
    run: async (lab, args) => {
      const requests = oneOf(args[1] ?? 'all', { all: 'all', read: 'read', write: 'write' } as const, 'requests');
      await lab.faults.breakDisk(lab.vm(word(args, 0, 'VM')), { requests });
      return `the disk of ${args[0]} is broken`;
    },
  },
  'repair-disk': {
    usage: 'VM',
    help: 'the disk works again',
    run: async (lab, args) => {
      await lab.faults.repairDisk(lab.vm(word(args, 0, 'VM')));
      return `the disk of ${args[0]} works`;
    },
  },
  'stop-api': {
    usage: '[crash|freeze]',
    help: 'take the API server away: connections reset (default), or open and silent',
    run: async (lab, args) => {
      await lab.faults.stopApiServer(oneOf(args[0] ?? 'crash', { crash: 'crash', freeze: 'freeze' } as const, 'how'));
      return 'the API server is away';
    },
  },
  'start-api': {
    usage: '',
    help: 'bring it back',
    run: async (lab) => {
      await lab.faults.startApiServer();
      return 'the API server is back';
    },
  },
};

/** One line per fault, for --help. */
export function faultHelp(): string {
  return Object.entries(faultWords)
    .map(([name, fault]) => `  fault ${`${name} ${fault.usage}`.padEnd(68)} ${fault.help}`)
    .join('\n');
}

/** Runs a fault given as words. Returns a line for the person who typed it; LabError says what would have been right. */
export async function runFault(lab: Lab, words: readonly string[]): Promise<string> {
  const [name = '', ...args] = words;
  const fault = faultWords[name];
  if (fault === undefined)
    throw new LabError(`there is no fault "${name}"; there are: ${Object.keys(faultWords).join(', ')}`);
  return await fault.run(lab, args);
}

function word(args: readonly string[], index: number, name: string): string {
  const value = args[index];
  if (value === undefined) throw new LabError(`${name} is missing`);
  return value;
}

function oneOf<T>(value: string, choices: Readonly<Record<string, T>>, name: string): T {
  const choice = Object.hasOwn(choices, value) ? choices[value] : undefined;
  if (choice === undefined)
    throw new LabError(`${name} "${value}": it must be one of ${Object.keys(choices).join(', ')}`);
  return choice;
}

function peer(lab: Lab, name: string): Peer {
  return name === 'control-plane' ? name : lab.vm(name);
}

function impairmentOf(text: string): [string, number] {
  const names: Readonly<Record<string, string>> = {
    delay: 'delayMs',
    jitter: 'jitterMs',
    loss: 'lossPercent',
    rate: 'rateMbit',
  };
  const match = /^(delay|jitter|loss|rate)=(\d+(?:\.\d+)?)(?:ms|%|mbit)?$/.exec(text);
  const name = names[match?.[1] ?? ''];
  if (name === undefined) throw new LabError(`"${text}": it must be delay=MS, jitter=MS, loss=PERCENT or rate=MBIT`);
  return [name, Number(match?.[2])];
}
