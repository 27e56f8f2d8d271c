// The backends by name. Adding one: a folder with its sources (and a stub twin where its package may be
// missing), and one line in backend.cpp.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "comm/communicator.h"

namespace thinwire::comm {

struct BackendOptions {
  std::string name = "threads";
  double timeout_s = 60;  // an exchange in which nothing moves for so long has failed
};

// A world of one, for any backend name: exchanges are the identity.
std::unique_ptr<Communicator> make_solo();

// This process's communicator in a world that was started outside (mpi and nccl: by mpirun). A process alone
// on `threads` is a world of one. Call on the thread that will own it. Throws std::invalid_argument that
// names the known backends, or says which package was missing at build.
std::unique_ptr<Communicator> connect(const BackendOptions& options);
std::vector<std::string> backend_names();
// Before a job is started: throws std::invalid_argument as connect() would, if this build or machine cannot
// run the backend. What only a joined world can show is left to connect().
void require_backend(const std::string& name);

// The `threads` backend: a world inside this process. Worker r takes communicator r on its own engine thread.
std::vector<std::function<std::unique_ptr<Communicator>()>> make_thread_world(int size, double timeout_s);

}  // namespace thinwire::comm
