import { CONTRACTS } from '../../functions/core/contracts.ts';
import { definitionHash } from '../../local/projectFiles.ts';
import { settingsWith } from '../support/lakes.ts';

const sql = new Map([
  ['customer_trusted', 'select 1'],
  ['identity', 'select 2'],
]);

test('a definition is another one with other policies, models or counts, and the same one with other settings', () => {
  const hash = definitionHash(settingsWith(), sql);
  expect(definitionHash(settingsWith({ mlJoin: 'time' }), sql)).not.toBe(hash);
  expect(definitionHash(settingsWith(), new Map([...sql, ['identity', 'select 3']]))).not.toBe(hash);
  expect(definitionHash(settingsWith({ maxRejectRatio: 1 }), sql)).toBe(hash);
});

test('a definition is another one with other contracts', () => {
  const hash = definitionHash(settingsWith(), sql);
  for (const contract of CONTRACTS) {
    const { grain } = contract;
    contract.grain = `${grain} of another kind`;
    expect(definitionHash(settingsWith(), sql)).not.toBe(hash);
    contract.grain = grain;
  }
  expect(definitionHash(settingsWith(), sql)).toBe(hash);
});
