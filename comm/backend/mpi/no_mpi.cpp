// Stands in for this folder's sources where the build found no MPI.
#include <stdexcept>

#include "comm/backend/mpi/mpi_allreduce.h"
#include "comm/backend/mpi/mpi_backend.h"

namespace thinwire::comm {

std::unique_ptr<Transport> connect_mpi(const BackendOptions&) {
  throw std::invalid_argument(
      "comm.backend = \"mpi\": this build has no MPI; install Open MPI (Debian: libopenmpi-dev), configure "
      "and build "
      "again, or use backend \"threads\"");
}

std::shared_ptr<MpiAllreduce> MpiAllreduce::make(std::span<float>) {
  throw std::invalid_argument("this build has no MPI to measure");
}

}  // namespace thinwire::comm
