import { CONTRACTS } from '../../functions/core/contracts.ts';
import { hashOfDefinition } from '../../functions/core/definition.ts';
import { settingsWith } from '../support/lakes.ts';

const sql = new Map([
  ['customer_trusted', 'select 1'],
  ['identity', 'select 2'],
]);

test('a definition is another one with other policies, models or counts, and the same one with other settings', () => {
  const hash = hashOfDefinition(settingsWith(), sql);
  expect(hashOfDefinition(settingsWith({ mlJoin: 'time' }), sql)).not.toBe(hash);
  expect(hashOfDefinition(settingsWith(), new Map([...sql, ['identity', 'select 3']]))).not.toBe(hash);
  expect(hashOfDefinition(settingsWith({ maxRejectRatio: 1 }), sql)).toBe(hash);
});

test('a definition is another one with other contracts', () => {
  const hash = hashOfDefinition(settingsWith(), sql);
  for (const contract of CONTRACTS) {
    const { grain } = contract;
    contract.grain = `${grain} of another kind`;
    expect(hashOfDefinition(settingsWith(), sql)).not.toBe(hash);
    contract.grain = grain;
  }
  expect(hashOfDefinition(settingsWith(), sql)).toBe(hash);
});
