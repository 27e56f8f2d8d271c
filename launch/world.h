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
// What this process joins by: the backend that was asked for, or, for "threads", whatever world surrounds it;
// "" for a world of one. Throws std::invalid_argument that says how to start where the backend asked for has
// no world here, and where something (Slurm, an MPI) started several processes that no backend would join.
std::string joined_backend(const std::string& asked);
// True for a process that mpirun, or another starter of MPI's processes, started together with others.
bool is_one_of_several();
// How many processes mpirun, Slurm or another starter says that it started; 0 if none does.
int surrounding_size();
// How many of them are on this machine; 1 if nothing started this process, 0 if that is not known.
int surrounding_size_here();
// This process's rank in the world that a launcher or another starter made; 0 if nothing did. Known before
// any backend is joined.
int surrounding_rank();
// A joined world must be as large as the starter's. Throws std::invalid_argument that says how to start.
void require_size(const std::string& backend, int size);
// The world that the variables above name. Throws std::invalid_argument for a rank that is no number.
comm::GrpcOptions surrounding_grpc();

// A started engine over this process's communicator, behind the link.
std::unique_ptr<comm::ProgressEngine> join_world(const WorldOptions& options);

// A started engine over the communicator that `make` gives, behind the link. Call it for all ranks of a world
// at once: starting may wait for the others.
std::unique_ptr<comm::ProgressEngine> start_engine(std::function<std::unique_ptr<comm::Communicator>()> make,
                                                   const std::string& link);

}  // namespace thinwire::launch
