// The backends by name. Adding one: a folder with its sources (and a stub twin where its package may be
// missing), and one line in backend.cpp.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "comm/communicator.h"

namespace thinwire::comm {

// How a worker of the backend `grpc` finds its world.
struct GrpcOptions {
  std::string coordinator{};           // HOST:PORT
  std::string listen = "127.0.0.1:0";  // HOST:PORT where the other workers reach this one; port 0: any
  std::string tls_dir{};               // a folder of `thinwire certs`; needed for any address but loopback
  std::string token{};                 // of the coordinator, if it asks for one
  std::string name{};                  // unique in the world; empty: the address
  std::optional<int> rank{};           // asked for; else ranks go by name
  std::string config_digest = "none";  // equal on all workers, or the world does not come about
  std::string start_digest = "none";   // the same, of what the run starts from
  std::string config{};                // what config_digest was made of, for messages
  double rendezvous_s = 60;            // for the coordinator to answer, and for every peer
};

struct BackendOptions {
  std::string name = "threads";
  double timeout_s = 60;  // an exchange in which nothing moves for so long has failed
  GrpcOptions grpc{};
};

// A world of one, for any backend name: exchanges are the identity.
std::unique_ptr<Communicator> make_solo();

// This process's communicator in a world that was started outside (mpi and nccl: by mpirun; grpc: at its
// coordinator). A process alone on `threads` is a world of one. Call on the thread that will own it. Throws
// std::invalid_argument that names the known backends, or says which package was missing at build.
std::unique_ptr<Communicator> connect(const BackendOptions& options);
std::vector<std::string> backend_names();
// Before a job is started: throws std::invalid_argument as connect() would, if this build or machine cannot
// run the backend. What only a joined world can show is left to connect().
void require_backend(const std::string& name);

// The `threads` backend: a world inside this process. Worker r takes communicator r on its own engine thread.
std::vector<std::function<std::unique_ptr<Communicator>()>> make_thread_world(int size, double timeout_s);

}  // namespace thinwire::comm
