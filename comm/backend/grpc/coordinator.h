// Where workers that share no MPI world find each other: admits them, gives ranks, tells the others when one
// is lost. It sees no training data. `thinwire coordinator` runs one; the launcher of `grpc` another.
//
// Who is a member is decided here; what a commit is, the outer loop knows, and neither needs the other.
#pragma once

#include <functional>
#include <memory>
#include <string>

namespace thinwire::comm {

struct CoordinatorOptions {
  std::string listen = "127.0.0.1:0";  // HOST:PORT; any but loopback needs tls_dir
  int workers = 1;
  std::string token{};                                   // empty: none is asked for
  std::string tls_dir{};                                 // a folder of `thinwire certs`
  double join_timeout_s = 600;                           // for the world to be complete
  double silence_s = 60;                                 // a worker that is silent for so long is lost
  std::function<void(const std::string&)> on_message{};  // what happens, a line each; from any thread
};

// Thread safety: all members from any thread; destroyed when no other call is under way.
class Coordinator {
 public:
  // Listens. Throws std::invalid_argument for an option that cannot be, std::runtime_error if the address
  // cannot be had; std::invalid_argument in a build without gRPC.
  explicit Coordinator(const CoordinatorOptions& options);
  ~Coordinator();
  Coordinator(const Coordinator&) = delete;
  Coordinator& operator=(const Coordinator&) = delete;

  // HOST:PORT as bound.
  std::string address() const;

  enum class End {
    kFinished,    // every worker left and said that it had finished
    kBroken,      // a worker was lost, and the others have left
    kIncomplete,  // workers stayed away until the deadline; the others were told
    kStopped,     // by stop()
  };
  struct Outcome {
    End end = End::kStopped;
    std::string text;  // who was lost or stayed away
  };
  // Blocks until the job has ended. After the first loss the others have silence_s to leave.
  Outcome wait();
  void stop();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace thinwire::comm
