/* SPDX-License-Identifier: ISC */
"use strict";
/* Worker threads with heaps of their own, buffers, and code which becomes hot. */
const { Worker, isMainThread, parentPort } = require("node:worker_threads");

const WORKERS = 6;
const ROUNDS = 3;

function fill(rounds) {
	const kept = [];

	for (let i = 0; i < rounds; i++) {
		const list = Array.from({ length: 20000 },
			(_, k) => ({ k, text: "item " + k + i }));

		list.sort((a, b) => (a.text < b.text ? -1 : 1));
		if (i % 3 === 0)
			kept.push(list);
		kept.push(Buffer.alloc(1 << (10 + i % 12)));
	}
	return kept.length;
}

function functions(count) {
	let sum = 0;

	for (let i = 0; i < count; i++) {
		const f = new Function("n", "let s = " + i +
			"; for (let i = 0; i < n; i++) s = (s * 17 + i) | 0; return s;");

		sum = (sum + f(30000)) | 0;
	}
	return sum;
}

function memories(count) {
	const kept = [];

	for (let i = 0; i < count; i++) {
		const memory = new WebAssembly.Memory({ initial: 1, maximum: 64 });

		memory.grow(1 + i % 8);
		kept.push(memory);
	}
	return kept.length;
}

function work() {
	return [fill(10), functions(60), memories(16)];
}

async function main() {
	for (let round = 0; round < ROUNDS; round++) {
		const workers = Array.from({ length: WORKERS }, () => new Worker(__filename));

		await Promise.all(workers.map(worker => new Promise((resolve, reject) => {
			worker.once("message", resolve);
			worker.once("error", reject);
		})));
		await Promise.all(workers.map(worker => worker.terminate()));
	}
	console.log(work().length);
}

if (isMainThread)
	main();
else
	parentPort.postMessage(work());
