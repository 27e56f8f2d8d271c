#include "comm/backend/mpi/mpi_session.h"

#include <cstdlib>
#include <string>

#include "comm/backend/mpi/mpi_backend.h"
#include "comm/backend/mpi/mpi_check.h"

namespace thinwire::comm {

namespace {

bool flag_of(int (*query)(int*)) {
  int flag = 0;
  THINWIRE_MPI_CHECK(query(&flag));
  return flag != 0;
}

void require_this_thread(int level) {
  if (level >= MPI_THREAD_SERIALIZED) return;
  if (level >= MPI_THREAD_FUNNELED && flag_of(MPI_Is_thread_main)) return;
  throw CommError(
      CommError::Kind::kClosed,
      "[mpi] MPI allows no calls from the communication thread: it was initialised elsewhere with thread "
      "level " +
          std::to_string(level) + "; ask for MPI_THREAD_SERIALIZED there, or leave MPI_Init to thinwire");
}

// Beyond its eager limit of 64 KiB Open MPI asks the receiver before it sends. While both directions are
// busy, question and answer wait behind the data that fills the sockets, and the link idles meanwhile: a 100
// Mbit/s link carried half of what it can. The price: a message that the receiver has not asked for yet lies
// inside its MPI, so at most what the peer has in flight.
void send_parts_at_once_over_tcp() {
  const std::string limit = std::to_string(kMpiPartBytes + (std::size_t{1} << 16));  // MPI's own header too
  for (const char* name : {"OMPI_MCA_btl_tcp_eager_limit", "OMPI_MCA_btl_tcp_max_send_size"}) {
    ::setenv(name, limit.c_str(), 0);
  }
}

}  // namespace

MpiSession::MpiSession() {
  if (flag_of(MPI_Finalized)) {
    throw CommError(CommError::Kind::kClosed,
                    "[mpi] MPI was finalised in this process and cannot start again; start a new process");
  }
  int level = MPI_THREAD_SINGLE;
  if (flag_of(MPI_Initialized)) {
    THINWIRE_MPI_CHECK(MPI_Query_thread(&level));
  } else {
    send_parts_at_once_over_tcp();
    // All our calls come from this thread, which thereby is MPI's main thread.
    THINWIRE_MPI_CHECK(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &level));
    owned_ = true;
  }
  require_this_thread(level);
  THINWIRE_MPI_CHECK(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN));
  THINWIRE_MPI_CHECK(MPI_Comm_set_errhandler(MPI_COMM_SELF, MPI_ERRORS_RETURN));
}

MpiSession::~MpiSession() {
  if (owned_) MPI_Finalize();
}

std::unique_ptr<Transport> connect_mpi(const BackendOptions& options) {
  return make_mpi_transport(std::make_shared<MpiSession>(), options.timeout_s);
}

}  // namespace thinwire::comm
