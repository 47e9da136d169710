/* SPDX-License-Identifier: ISC */
import java.nio.MappedByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;

/** Threads which come and go, fill the heap, and map a file piece by piece. */
public class Threads {
	private static final int ROUNDS = 6;
	private static final int THREADS = 16;
	private static final int PIECE = 1 << 16;

	private static long fill(int seed) {
		List<byte[]> kept = new ArrayList<>();
		long sum = 0;

		for (int i = 0; i < 400; i++) {
			byte[] block = new byte[1 << (8 + (i * 7 + seed) % 12)];

			block[i % block.length] = (byte) i;
			sum += block[0] + block.length;
			if (i % 4 == 0)
				kept.add(block);
		}
		return sum + kept.size();
	}

	private static long mapPieces(Path path) throws Exception {
		List<MappedByteBuffer> kept = new ArrayList<>();
		long sum = 0;

		try (FileChannel channel = FileChannel.open(path, StandardOpenOption.READ,
				StandardOpenOption.WRITE)) {
			for (int i = 0; i < 40; i++) {
				MappedByteBuffer piece = channel.map(
					i % 2 == 0 ? FileChannel.MapMode.READ_WRITE
						   : FileChannel.MapMode.READ_ONLY,
					(long) i * PIECE, PIECE);

				sum += piece.get(i);
				kept.add(piece);
			}
		}
		return sum + kept.size();
	}

	public static void main(String[] arguments) throws Exception {
		Path path = Files.createTempFile("cleave", ".data");
		long[] sums = new long[THREADS];

		Files.write(path, new byte[40 * PIECE]);
		for (int round = 0; round < ROUNDS; round++) {
			List<Thread> threads = new ArrayList<>();

			for (int i = 0; i < THREADS; i++) {
				final int number = i;
				Thread thread = new Thread(() -> {
					try {
						sums[number] += fill(number) + mapPieces(path);
					} catch (Exception e) {
						throw new IllegalStateException(e);
					}
				});

				threads.add(thread);
				thread.start();
			}
			for (Thread thread : threads)
				thread.join();
			System.gc();
		}
		Files.delete(path);
		long total = 0;
		for (long sum : sums)
			total += sum;
		System.out.println("total " + total);
	}
}
