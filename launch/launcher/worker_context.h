// What every launcher gives its workers alike.
#pragma once

#include <string>

#include "launch/launcher/launcher.h"

namespace thinwire::launch {

// All but the world and whom to tell. workers: of the world.
trainer::WorkerContext worker_context(const Job& job, int workers);

}  // namespace thinwire::launch
