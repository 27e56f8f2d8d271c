// MPI in this process, from MPI_Init_thread to MPI_Finalize, both on the thread that makes and destroys the
// session. Where the embedding program has initialised MPI itself, a session uses it and leaves it
// initialised.
#pragma once

#include <cstddef>
#include <memory>

#include "comm/transport.h"

namespace thinwire::comm {

// The largest message that is handed to MPI in one call. MPI counts are ints; no need to come near.
inline constexpr std::size_t kMpiPartBytes = std::size_t{1} << 20;

// Before it starts MPI it asks Open MPI, by the environment, to send whole parts over TCP without asking the
// receiver first. Whatever the user has set stays.
class MpiSession {
 public:
  // Throws CommError kClosed if MPI was finalised before in this process (it starts once), or if it does not
  // grant calls from this thread.
  MpiSession();
  // Finalises MPI, which waits for all ranks; not after abandon().
  ~MpiSession();
  MpiSession(const MpiSession&) = delete;
  MpiSession& operator=(const MpiSession&) = delete;

  // After an error MPI_Finalize might wait for ever for a dead peer or a message that nobody takes: it is
  // left out. The process should exit with a code other than 0; mpirun then ends the job. So should an
  // embedding program, without another call of MPI: that may still read messages whose memory is freed by
  // then.
  void abandon() { owned_ = false; }

 private:
  bool owned_ = false;
};

// Joins the world of MPI_COMM_WORLD on a communicator of its own; all ranks call it. Keeps the session alive.
// timeout_s bounds joining and leaving.
std::unique_ptr<Transport> make_mpi_transport(std::shared_ptr<MpiSession> session, double timeout_s);

}  // namespace thinwire::comm
