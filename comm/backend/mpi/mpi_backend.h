// The `mpi` backend: processes started by mpirun. mpi_session.cpp and mpi_transport.cpp, or their
// stub no_mpi.cpp where the build found no MPI.
#pragma once

#include <memory>

#include "comm/backend/backend.h"
#include "comm/transport.h"

namespace thinwire::comm {

// Initialises MPI on the calling thread, which makes all further calls and destroys the transport. Once per
// process. Throws std::invalid_argument in a build without MPI, CommError if MPI will not start.
std::unique_ptr<Transport> connect_mpi(const BackendOptions& options);

}  // namespace thinwire::comm
