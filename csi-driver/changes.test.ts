import { expect, test } from '@jest/globals';
import { createChanges } from './changes.ts';
import { callContext } from './testing/fake-controller.ts';

test('looks at once, then after each change of this volume only', async () => {
  const changes = createChanges();
  let looks = 0;
  const found = changes.waitFor('a', callContext(), async () => {
    looks += 1;
    return looks === 2 ? 'found' : undefined;
  });
  await new Promise((resolve) => setTimeout(resolve, 10));
  changes.notify('b');
  await new Promise((resolve) => setTimeout(resolve, 10));
  expect(looks).toBe(1);
  changes.notify('a');
  await expect(found).resolves.toBe('found');
});

test('Given a change comes while looking, Then it looks again', async () => {
  const changes = createChanges();
  let looks = 0;
  const found = changes.waitFor('a', callContext(), async () => {
    looks += 1;
    if (looks === 1) changes.notify('a');
    return looks === 2 ? 'found' : undefined;
  });
  await expect(found).resolves.toBe('found');
});

test('ends at the deadline with nothing, after a last look', async () => {
  let looks = 0;
  await expect(createChanges().waitFor('a', callContext(30), async () => void looks++)).resolves.toBeUndefined();
  expect(looks).toBe(2);
});

test('what the look throws ends the waiting', async () => {
  await expect(createChanges().waitFor('a', callContext(), () => Promise.reject(new Error('broken')))).rejects.toThrow(
    'broken',
  );
});
