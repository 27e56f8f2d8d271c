// A worker at its coordinator: joins, hears who is lost, leaves.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "comm/backend/grpc/inbox.h"
#include "comm/backend/grpc/membership.h"
#include "comm/backend/grpc/tls_files.h"

namespace thinwire::comm {

// Thread safety: none.
class Attendance {
 public:
  struct Options {
    std::string coordinator;  // HOST:PORT
    double timeout_s = 60;    // for the coordinator to answer
  };
  // Losses that the coordinator names go into the inbox.
  Attendance(const Options& options, const TlsFiles& tls, std::shared_ptr<Inbox> inbox);
  ~Attendance();  // without leave(): as a broken connection

  // Blocks until the world is complete: up to timeout_s for a coordinator to answer, then as long as it says.
  // Throws std::invalid_argument for what the coordinator refuses (its words), CommError kTimeout if it is
  // not reached or workers stay away, kClosed if the world is complete without this one.
  Placement join(const JoinRequest& request);

  // The last words to the coordinator; waits for a moment until it has heard them.
  void leave(bool finished, std::string_view reason) noexcept;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace thinwire::comm
