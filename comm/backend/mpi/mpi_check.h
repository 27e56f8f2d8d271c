// The one check of MPI return codes. For sources of this folder only: it includes mpi.h.
#pragma once

#include <mpi.h>

#include <string>

#include "comm/errors.h"

namespace thinwire::comm {

inline void check_mpi(int code, const char* call) {
  if (code == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING] = {};
  int length = 0;
  MPI_Error_string(code, text, &length);
  throw CommError(CommError::Kind::kPeerLost,
                  std::string("[mpi] ") + call + ": expected MPI_SUCCESS, got " + text +
                      "; look at the other ranks' logs, resume from the newest checkpoint");
}

}  // namespace thinwire::comm

// THINWIRE_MPI_CHECK(MPI_Barrier(comm)) throws CommError if the call fails; its communicator returns errors.
#define THINWIRE_MPI_CHECK(call) ::thinwire::comm::check_mpi((call), #call)
