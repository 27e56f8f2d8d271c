// Stands in for mpi_backend.cpp where the build found no MPI.
#include <stdexcept>

#include "comm/backend/mpi/mpi_backend.h"

namespace thinwire::comm {

std::unique_ptr<Transport> connect_mpi(const BackendOptions&) {
  throw std::invalid_argument(
      "comm.backend = \"mpi\": this build has no MPI; install Open MPI (Debian: libopenmpi-dev), configure "
      "and build "
      "again, or use backend \"threads\"");
}

}  // namespace thinwire::comm
