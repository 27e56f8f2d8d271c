// How this process finds the others of its world.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "comm/backend/backend.h"
#include "comm/progress_engine.h"

namespace thinwire::launch {

struct WorldOptions {
  std::string backend{};  // empty: a world of one
  std::string link = "unlimited";
  double timeout_s = 60;
  comm::GrpcOptions grpc{};  // of the backend grpc
};

// What a launcher of `grpc` sets for every worker; by hand they serve a program of one's own on several
// hosts.
constexpr const char* kCoordinatorVariable = "THINWIRE_COORDINATOR";  // HOST:PORT
constexpr const char* kListenVariable = "THINWIRE_LISTEN";            // HOST:PORT; optional
constexpr const char* kRankVariable = "THINWIRE_RANK";                // optional
constexpr const char* kTokenVariable = "THINWIRE_TOKEN";              // optional
constexpr const char* kTlsVariable = "THINWIRE_TLS";  // a folder of `thinwire certs`; optional

// The backend of what started this process: "grpc" where a coordinator is named, "mpi" under mpirun, "" if
// nothing did.
std::string surrounding_backend();
// What a worker of it joins by: the backend that was asked for, if mpirun starts its workers too.
std::string joined_backend(const std::string& asked);
// This process's rank in the world that a launcher or mpirun started; 0 if nothing did. Known before any
// backend is joined.
int surrounding_rank();
// The world that the variables above name. Throws std::invalid_argument for a rank that is no number.
comm::GrpcOptions surrounding_grpc();

// A started engine over this process's communicator, behind the link.
std::unique_ptr<comm::ProgressEngine> join_world(const WorldOptions& options);

// A started engine over the communicator that `make` gives, behind the link. Call it for all ranks of a world
// at once: starting may wait for the others.
std::unique_ptr<comm::ProgressEngine> start_engine(std::function<std::unique_ptr<comm::Communicator>()> make,
                                                   const std::string& link);

}  // namespace thinwire::launch
