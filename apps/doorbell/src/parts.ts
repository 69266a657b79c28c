import type { Faces } from '../shared/faces.ts';
import type { Activity } from './activity.ts';
import type { Camera } from './camera/camera.ts';
import type { Folders } from './files.ts';
import type { Lamp } from './lamp.ts';
import type { Notifications } from './notifications/notifications.ts';
import type { KeptGallery } from './recognition/gallery.ts';
import type { Configuration } from './settings.ts';
import type { Storage } from './storage/storage.ts';

/** What a running system is made of, below the button. */
export interface Parts extends Configuration {
  readonly places: Folders;
  readonly activity: Activity;
  readonly storage: Storage;
  readonly gallery: KeptGallery;
  readonly faces: Faces;
  readonly camera: Camera;
  readonly lamp: Lamp;
  readonly notifications: Notifications;
}
