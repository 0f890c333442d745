import { hashOfDefinition } from '../../functions/core/definition.ts';
import { settingsWith } from '../support/lakes.ts';

test('a definition is another one with other policies, models or counts, and the same one with other settings', () => {
  const sql = new Map([
    ['customer_trusted', 'select 1'],
    ['identity', 'select 2'],
  ]);
  const hash = hashOfDefinition(settingsWith(), sql);
  expect(hashOfDefinition(settingsWith({ mlJoin: 'time' }), sql)).not.toBe(hash);
  expect(hashOfDefinition(settingsWith(), new Map([...sql, ['identity', 'select 3']]))).not.toBe(hash);
  expect(hashOfDefinition(settingsWith({ maxRejectRatio: 1 }), sql)).toBe(hash);
});
