// SPDX-License-Identifier: ISC
// node with an address space that is kept busy: garbage, compiled code, workers that come and go, children.
// node churn.js SECONDS
'use strict';
const { Worker, isMainThread, workerData } = require('worker_threads');
const { execFileSync } = require('child_process');

function churn() {
	const kept = [];

	for (let i = 0; i < 64; i++) {
		kept.push(Buffer.alloc(1 + Math.floor(Math.random() * (1 << 18)), 1));
		if (kept.length > 16)
			kept.length = 0;
	}
	// Code of its own each time: compiled, optimised, thrown away.
	const f = new Function('n', `let s = ${Math.random()}; for (let i = 0; i < n; i++) s += i; return s;`);
	f(100000);
	return new Uint8Array(new SharedArrayBuffer(1 << 16)).length;
}

if (!isMainThread) {
	for (let i = 0; i < workerData; i++)
		churn();
} else {
	const end = Date.now() + 1000 * Number(process.argv[2] || 3);
	let workers = 0;
	let running = 0;

	const more = () => {
		if (Date.now() >= end) {
			if (running === 0)
				console.log(`${workers} workers, child said ${execFileSync('echo', ['hi'])}`.trim());
			return;
		}
		while (running < 3) {
			running++;
			workers++;
			new Worker(__filename, { workerData: 20 }).on('exit', () => {
				running--;
				more();
			});
		}
	};
	more();
	setInterval(churn, 20).unref();
}
