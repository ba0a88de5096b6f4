import { describe, expect, test } from '@jest/globals';
import { formatPlacement } from './format.ts';
import { parsePlacement, PlacementSyntaxError } from './parse.ts';

describe('parsePlacement', () => {
  test('reads every rule', () => {
    const expression =
      'distinct(availability_zone); same(room); in(media, nvme|ssd); notIn(rack, r1); exists(fast); ' +
      'prefer distinct(rack); prefer(50) same(row); prefer in(media, nvme); prefer near(client); ' +
      'prefer(1) near(client, topology.kubernetes.io/zone); prefer(100) spread(capacity)';
    expect(parsePlacement(expression)).toEqual({
      constraints: [
        { kind: 'distinct', label: 'availability_zone' },
        { kind: 'same', label: 'room' },
        { kind: 'in', label: 'media', values: ['nvme', 'ssd'] },
        { kind: 'notIn', label: 'rack', values: ['r1'] },
        { kind: 'exists', label: 'fast' },
      ],
      goals: [
        { kind: 'distinct', label: 'rack', weight: 10 },
        { kind: 'same', label: 'row', weight: 50 },
        { kind: 'in', label: 'media', values: ['nvme'], weight: 10 },
        { kind: 'near', weight: 10 },
        { kind: 'near', label: 'topology.kubernetes.io/zone', weight: 1 },
        { kind: 'spread', resource: 'capacity', weight: 100 },
      ],
    });
  });

  test.each(['', '  \n\t'])('%j is a placement without rules', (expression) => {
    expect(parsePlacement(expression)).toEqual({ constraints: [], goals: [] });
  });

  test.each([
    [
      'spaces and line breaks between all marks',
      ' distinct ( zone )\n;\tin( media ,nvme | ssd ) ; ',
      'distinct(zone); in(media, nvme|ssd)',
    ],
    ['a semicolon at the end', 'distinct(zone);', 'distinct(zone)'],
    ['goals before constraints', 'prefer near(client);distinct(zone)', 'distinct(zone); prefer near(client)'],
    ['the default weight', 'prefer(10) near(client)', 'prefer near(client)'],
    [
      'labels called like rules',
      'distinct(prefer); same(in); in(client, capacity)',
      'distinct(prefer); same(in); in(client, capacity)',
    ],
    ['the empty label value', 'in(media, ""|nvme)', 'in(media, ""|nvme)'],
  ])('accepts %s', (_, expression, canonical) => {
    expect(formatPlacement(parsePlacement(expression))).toBe(canonical);
  });
});

const constraint = 'a constraint (distinct, same, in, notIn, exists)';
const goal = 'a goal (distinct, same, in, near, spread)';
const key = 'a label key (such as zone or topology.kubernetes.io/zone)';
const value = 'a label value (letters, digits, "-", "_" and ".", at most 63)';

const many = (n: number, text: (i: number) => string, separator: string) =>
  Array.from({ length: n }, (_, i) => text(i)).join(separator);

describe('PlacementSyntaxError', () => {
  test.each([
    // [expression, column, the rest of the message]
    ['distnct(zone)', 1, `${constraint}, found "distnct" (did you mean distinct?)`],
    ['Distinct(zone)', 1, `${constraint}, found "Distinct" (did you mean distinct?)`],
    ['perfer near(client)', 1, `${constraint}, found "perfer" (did you mean prefer?)`],
    ['xyzzy(zone)', 1, `${constraint}, found "xyzzy"`],
    [';', 1, `${constraint}, found ";"`],
    ['distinct(zone);; same(x)', 16, `${constraint}, found ";"`],
    ['near(client)', 1, `${constraint}, found "near" (write "prefer near(...)")`],
    ['prefer exists(x)', 8, `${goal}, found "exists" (exists can't be preferred, only required)`],
    ['prefer', 7, `${goal}, found the end`],
    ['prefer prefer near(client)', 8, `${goal}, found "prefer"`],
    ['prefer() near(client)', 8, 'a weight from 1 to 100, found ")"'],
    ['prefer(0) near(client)', 8, 'a weight from 1 to 100, found "0"'],
    ['prefer(101) near(client)', 8, 'a weight from 1 to 100, found "101"'],
    ['prefer(1.5) near(client)', 8, 'a weight from 1 to 100, found "1.5"'],
    ['prefer(-5) near(client)', 8, 'a weight from 1 to 100, found "-5"'],
    ['prefer(50 near(client)', 11, '")", found "near"'],
    ['distinct', 9, '"(", found the end'],
    ['distinct zone', 10, '"(", found "zone"'],
    ['distinct(zone', 14, '")", found the end'],
    ['distinct(zone   ', 14, '")", found the end'],
    ['distinct(zone; same(x)', 14, '")", found ";"'],
    ['distinct()', 10, `${key}, found ")"`],
    ['distinct(zo$ne)', 10, `${key}, found "zo$ne"`],
    ['distinct(-zone)', 10, `${key}, found "-zone"`],
    ['distinct(a/b/c)', 10, `${key}, found "a/b/c"`],
    ['distinct(UPPER.io/zone)', 10, `${key}, found "UPPER.io/zone"`],
    ['distinct("zone")', 10, `${key}, found a quotation mark (names are written without quotation marks)`],
    ['distinct(zone) same(room)', 16, '";" or the end, found "same"'],
    ['distinct(zone), same(room)', 15, '";" or the end, found ","'],
    ['in(media)', 9, '",", found ")"'],
    ['in(media, )', 11, `${value}, found ")"`],
    ['in(media, nvme|)', 16, `${value}, found ")"`],
    ['in(media, nvme, ssd)', 15, '"|" or ")", found "," (values are separated by "|")'],
    ['in(media, nvme|nvme)', 16, 'a value that is not yet in the list, found "nvme"'],
    ['in(media, nv/me)', 11, `${value}, found "nv/me"`],
    ['prefer near()', 13, '"client", found ")"'],
    ['prefer near(cleint)', 13, '"client", found "cleint" (did you mean client?)'],
    ['prefer near(client, )', 21, `${key}, found ")"`],
    ['prefer near(client; zone)', 19, '"," or ")", found ";"'],
    ['prefer spread(iops)', 15, '"capacity", found "iops"'],
    ['distinct(é)', 10, `${key}, found "é"`],
    ['𝒳 ; distinct(zone', 1, `${constraint}, found "𝒳"`],
  ])('%j: column %i', (expression, column, rest) => {
    const error = failure(expression);
    expect(error.message).toBe(`placement, column ${column}: expected ${rest}`);
    expect(error.column).toBe(column);
    expect(error.line).toBe(1);
  });

  test('shows the source with a caret below the mistake', () => {
    expect(failure('distinct(zone; in(media, nvme)').display).toBe(
      ['placement, column 14: expected ")", found ";"', '  distinct(zone; in(media, nvme)', '               ^'].join(
        '\n',
      ),
    );
  });

  test('names the line when there are several, and keeps tabs so that the caret fits', () => {
    const error = failure('distinct(zone);\n\tin(media)');
    expect([error.line, error.column]).toEqual([2, 10]);
    expect(error.display.split('\n')).toEqual([
      'placement, line 2, column 10: expected ",", found ")"',
      '  \tin(media)',
      '  \t        ^',
    ]);
  });

  test('counts characters, not UTF-16 units, and shows no control characters', () => {
    const error = failure('in(media, 𝒳\u001B[2J|b)');
    expect(error.column).toBe(11);
    expect(error.display).not.toContain('\u001B');
    expect(failure('distinct(zone) 𝒳 𝒳').column).toBe(16);
  });

  test('limits the number of rules and values to what the CRD stores', () => {
    expect(parsePlacement(many(16, (i) => `exists(l${i})`, ';')).constraints).toHaveLength(16);
    expect(failure(many(17, (i) => `exists(l${i})`, ';')).expected).toBe('at most 16 constraints');
    expect(failure(many(17, (i) => `prefer near(client, l${i})`, ';')).expected).toBe('at most 16 goals');
    expect(failure(`in(a, ${many(65, (i) => `v${i}`, '|')})`).expected).toBe('at most 64 values');
  });

  test('a long input without sense is refused at once', () => {
    expect(failure('x'.repeat(1_000_000)).column).toBe(1);
    expect(failure(`distinct(${'a-'.repeat(500_000)})`).column).toBe(10);
  });
});

function failure(expression: string): PlacementSyntaxError {
  try {
    parsePlacement(expression);
  } catch (error) {
    if (error instanceof PlacementSyntaxError) {
      return error;
    }
    throw error;
  }
  throw new Error(`no error for ${JSON.stringify(expression)}`);
}
