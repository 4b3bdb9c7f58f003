// A program that the declarations must allow, and mistakes that they must find. See scripts/check_client.

import { CommandError, Party } from '../../../tandemd/web/client/index.js';

const media = document.createElement('video');
const party = new Party({ url: 'ws://x/ws', roomId: 'r', userId: 'u', media, options: { backOffMs: 5 } });

party.on('state', (state, error) => console.log(state === 'refused', error?.code));
party.on('changed', (what, message) => {
  const line = party.room.lines.at(-1);
  if (what === 'chat' && line?.kind === 'chat') console.log(line.text.length);
  if (message?.type === 'CHAT') console.log(message.text.length, message.seq);
});
party.say('hello').catch((error) => error instanceof CommandError && error.retryAfterMs);

party.connection.command({ type: 'KICK', targetUserId: 'bob' }).then(({ seq }) => console.log(seq));

// @ts-expect-error
party.connection.command({ type: 'KICK' });
// @ts-expect-error
party.on('nothing', () => {});
// @ts-expect-error
party.say(1);
// @ts-expect-error
new Party({ roomId: 'r', userId: 'u' });
