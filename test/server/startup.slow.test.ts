import { test } from 'node:test';
import { requestFromStart } from './startups.ts';

test('in forty starts, gateways that request from the start on never get 404', async t => {
  await requestFromStart(t, 40);
});
