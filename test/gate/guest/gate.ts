/** All that a scenario uses: what an array rests on, its legs, the array. */
export * from './rig.ts';
export * from './legs.ts';
export * from './array.ts';
