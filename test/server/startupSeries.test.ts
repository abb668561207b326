import { test } from 'node:test';
import { slow } from '../support/slow.ts';
import { requestFromStart } from './startups.ts';

test('in forty starts, gateways that request from the start on never get 404', slow, async t => {
  await requestFromStart(t, 40);
});
