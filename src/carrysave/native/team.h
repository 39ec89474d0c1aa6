#pragma once

// Calls run(data) on up to `workers` threads at once, this one among them, and returns when all have ended; there may be
// fewer. `run` throws nothing.
//
// Where torch's OpenMP runtime is loaded, its threads are used: they wait for work by spinning, for milliseconds after
// each operator, and would take the cores from threads of our own.
void run_together(int workers, void (*run)(void*), void* data);
