import type { RbdConnection } from '../command.ts';
import type { ImageLook, ImagePlace } from '../image.ts';
import { formatImageName } from '../image-name.ts';
import { Session } from '../session.ts';

/** An image and its snaps, asked of a session of its own. */
export async function lookAt(connection: RbdConnection, place: ImagePlace): Promise<ImageLook> {
  const session = new Session(connection);
  try {
    return await session.ask('look', place, {
      operation: 'look at rbd image',
      subject: formatImageName(place),
    });
  } finally {
    await session.close();
  }
}
