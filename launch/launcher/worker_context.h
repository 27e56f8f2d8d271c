// What every launcher gives its workers alike.
#pragma once

#include <string>

#include "launch/launcher/launcher.h"

namespace thinwire::launch {

// All but the world and whom to tell. workers: of the world.
trainer::WorkerContext worker_context(const Job& job, int workers);

// The config as far as it must be equal on all workers. Folders and files may stand elsewhere on each host.
std::string shared_config(const trainer::Options& options);

}  // namespace thinwire::launch
