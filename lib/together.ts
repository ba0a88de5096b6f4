/**
 * Does the same to each, side by side, and waits for all of them also when one fails: none is still under way afterwards.
 *
 * @throws what the first that failed threw
 */
export async function together<In, Out>(
  items: readonly In[],
  work: (item: In, index: number) => Promise<Out>,
): Promise<Out[]> {
  const results = await Promise.allSettled(items.map(work));
  return results.map((result) => {
    if (result.status === 'rejected') throw result.reason;
    return result.value;
  });
}
