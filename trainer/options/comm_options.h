// [comm]: how bytes travel.
#pragma once

#include <string>

namespace thinwire::trainer {

struct CommOptions {
  std::string backend = "threads";  // threads, mpi, grpc, nccl
  std::string link = "unlimited";
  double timeout_s = 60;
};

}  // namespace thinwire::trainer
