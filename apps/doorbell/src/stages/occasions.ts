import type { Alert, Occasion } from '../notifications/notifications.ts';
import type { Settings } from '../settings.ts';
import type { Visit } from './visit.ts';

/** What there is to tell of a visit. */
export function occasionsOf(
  { type, people, capture, eventId }: Visit,
  settings: Settings['notifications'],
): (readonly [Alert, Occasion])[] {
  const picture = settings.include_images ? capture : null;
  const each = (
    alert: Alert,
    status: string,
    tell: (name: string, confidence: number) => Pick<Occasion, 'title' | 'message' | 'capture'>,
  ) =>
    people
      .filter((one) => one.status === status)
      .map(({ personId, name, confidence }): readonly [Alert, Occasion] => [
        alert,
        {
          ...tell(name ?? 'Somebody', confidence),
          eventId,
          ...(personId === null ? {} : { personId }),
          ...(name === null ? {} : { personName: name }),
          confidence,
        },
      ]);
  switch (type) {
    case 'FACE_BLACKLISTED':
      return each('blacklist_detection', 'blacklisted', (name) => ({
        title: '🚨 SECURITY ALERT - Blacklisted Person Detected',
        message: `${name} is at the door`,
        capture: picture,
      }));
    case 'FACE_RECOGNIZED':
      return each('known_person_detection', 'known', (name, confidence) => ({
        title: `👋 ${name} is at the door`,
        message: `Recognised with a confidence of ${Math.round(confidence * 100)} %`,
        capture: settings.include_images_for_known ? picture : null,
      }));
    case 'FACE_UNKNOWN': {
      const title = '👤 Unknown Person at Door';
      return [
        [
          'unknown_person_detection',
          { title, message: 'Somebody unknown rang the doorbell', capture: picture, eventId },
        ],
      ];
    }
    case 'NO_FACES_DETECTED': {
      const message = 'The doorbell rang, and no face was seen';
      return [['no_face_detection', { title: 'Doorbell', message, capture: picture, eventId }]];
    }
    case 'COMPONENT_ERROR': {
      const [title, message] =
        capture === null
          ? ['⚠️ System Alert: camera', 'The camera gave no picture when the doorbell rang']
          : ['⚠️ System Alert: faces', 'The picture could not be searched for faces when the doorbell rang'];
      return [['system_alerts', { title, message, eventId, capture: picture }]];
    }
  }
}
