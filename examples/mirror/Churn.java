// SPDX-License-Identifier: ISC
// A JVM that keeps its address space busy: garbage, threads that come and go, mapped files, direct buffers.
// java Churn.java SECONDS
import java.nio.ByteBuffer;
import java.nio.MappedByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.concurrent.atomic.AtomicLong;

public class Churn {
	static final AtomicLong rounds = new AtomicLong();

	static void garbage(Random random) {
		List<byte[]> kept = new ArrayList<>();
		for (int i = 0; i < 64; i++) {
			byte[] bytes = new byte[1 + random.nextInt(1 << 18)];
			bytes[bytes.length - 1] = 1;
			if (random.nextInt(4) == 0)
				kept.add(bytes);
		}
	}

	static void buffers(Random random, Path file) throws Exception {
		ByteBuffer direct = ByteBuffer.allocateDirect(1 << (12 + random.nextInt(9)));
		direct.put(0, (byte) 1);
		try (FileChannel channel = FileChannel.open(file, StandardOpenOption.READ, StandardOpenOption.WRITE)) {
			MappedByteBuffer mapped = channel.map(FileChannel.MapMode.READ_WRITE, 0, 1 << 16);
			mapped.put(random.nextInt(1 << 16), (byte) 1);
		}
	}

	static void shortLife() throws InterruptedException {
		Thread thread = new Thread(() -> rounds.incrementAndGet());
		thread.start();
		thread.join();
	}

	static void work(int seed, long end, Path file) {
		Random random = new Random(seed);
		try {
			while (System.nanoTime() < end) {
				garbage(random);
				buffers(random, file);
				shortLife();
				if (random.nextInt(32) == 0)
					System.gc();
			}
		} catch (Exception e) {
			e.printStackTrace();
			System.exit(1);
		}
	}

	public static void main(String[] arguments) throws Exception {
		long end = System.nanoTime() + Long.parseLong(arguments[0]) * 1_000_000_000L;
		Path file = Files.createTempFile("churn", null);
		Files.write(file, new byte[1 << 16]);
		List<Thread> threads = new ArrayList<>();
		for (int i = 0; i < 4; i++) {
			int seed = i;
			Thread thread = new Thread(() -> work(seed, end, file));
			threads.add(thread);
			thread.start();
		}
		for (Thread thread : threads)
			thread.join();
		Process process = new ProcessBuilder("true").start();
		System.out.println(rounds + " rounds, child " + process.waitFor());
		Files.delete(file);
	}
}
