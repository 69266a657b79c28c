import type { Configuration, Settings } from '../settings.ts';
import type { NewNotification } from '../storage/storage.ts';
import type { Channel } from './channel.ts';
import type { Live } from './live.ts';
import { Mqtt } from './mqtt.ts';
import { Telegram } from './telegram.ts';
import { Webhook } from './webhook.ts';

const MS_PER_SECOND = 1000;

/** The channels that are configured. In development there is only the page. */
export function openChannels(
  { settings: { notifications }, secrets }: Configuration,
  environment: NodeJS.ProcessEnv,
  live: Live,
): Channel[] {
  if (environment['DEVELOPMENT_MODE']?.toLowerCase() === 'true') return [live];
  const channels: Channel[] = [live];
  const { telegramBotToken: token, telegramChatId: chatId, mqttPassword, webhookSecret } = secrets;
  const { mqtt, webhook, retry_attempts: attempts, retry_delay, emergency_contacts } = notifications;
  const retry = { attempts, pauseMs: () => retry_delay * MS_PER_SECOND };
  if (token !== null && chatId !== null && notifications.telegram_enabled) {
    const apiUrl = environment['TELEGRAM_API_URL'];
    channels.push(
      new Telegram({
        token,
        chatId,
        emergencyChatIds: emergency_contacts,
        timeoutMs: notifications.telegram_timeout * MS_PER_SECOND,
        retry,
        ...(apiUrl === undefined ? {} : { apiUrl }),
      }),
    );
  }
  if (mqtt.url !== null)
    channels.push(
      new Mqtt({
        url: mqtt.url,
        username: mqtt.username,
        password: mqttPassword,
        clientId: mqtt.client_id,
        topic: mqtt.topic,
        deviceName: mqtt.device_name,
        discoveryPrefix: mqtt.discovery_prefix,
        timeoutMs: mqtt.timeout * MS_PER_SECOND,
        reconnectMs: mqtt.reconnect_delay * MS_PER_SECOND,
        retry,
      }),
    );
  if (webhook.url !== null) {
    if (webhookSecret === null)
      throw new Error('notifications.webhook.url is set, and WEBHOOK_SECRET is not: put it into config/secrets.env');
    channels.push(
      new Webhook({
        url: webhook.url,
        secret: webhookSecret,
        timeoutMs: webhook.timeout * MS_PER_SECOND,
        retry: { attempts: webhook.retry_attempts, pauseMs: (attempt) => backoffMs(webhook, attempt) },
      }),
    );
  }
  return channels;
}

/** Critical messages go everywhere. */
export function channelsFor(
  channels: readonly Channel[],
  priority: NewNotification['priority'],
  { primary, minimal }: Settings['notifications']['channels'],
): readonly Channel[] {
  if (priority === 'critical') return channels;
  const names = priority === 'warning' ? primary : minimal;
  return channels.filter(({ name }) => names.includes(name));
}

/** Twice as long after each attempt, and up to a quarter less, so that many doorbells do not come back at once. */
function backoffMs({ retry_delay, max_retry_delay }: Settings['notifications']['webhook'], attempt: number): number {
  const seconds = Math.min(retry_delay * 2 ** (attempt - 1), max_retry_delay);
  return seconds * MS_PER_SECOND * (1 - Math.random() / 4);
}
