#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <vector>
#include "activation.h"
#include "finish.h"
#include "isa.h"
static std::mt19937_64 rng(1);
static int64_t pick(int64_t a,int64_t b){return a+int64_t(rng()%uint64_t(b-a+1));}
static int fails=0;
#define CHECK(c,...) do{if(!(c)){std::printf(__VA_ARGS__);std::printf("  [%s:%d]\n",__FILE__,__LINE__);if(++fails>10)std::exit(1);}}while(0)
static void one(int i){
  ActivationProblem p{};
  p.n=pick(1,3);p.groups=1;
  switch(pick(0,3)){case 0:p.c=pick(1,20);break;case 1:p.groups=pick(1,4);p.c=p.groups*4*pick(1,9);break;case 2:p.c=pick(60,200);break;default:p.groups=pick(1,70);p.c=p.groups*pick(1,3);}
  p.h=pick(1,12);p.w=pick(1,24);p.top=pick(0,3);p.bottom=pick(0,3);p.left=pick(0,3);p.right=pick(0,3);
  p.rank=pick(0,10);p.layout=FactorLayout(pick(0,2));p.threads=int(pick(1,3));
  std::vector<float> v(p.n*p.c*p.h*p.w);std::vector<uint8_t> codes(v.size());
  int low=pick(0,1)?0:-128;int high=low+int(pick(1,255));
  p.quantization={float(0.01+0.001*double(pick(0,100))),int(pick(low,high)),low,high};
  std::uniform_real_distribution<float> u(-6,6);
  for(auto&x:v){x=u(rng);auto r=rng()%50;if(r==0)x=p.quantization.scale*(float(pick(-300,300))+0.5f);if(r==1)x=1e30f;if(r==2)x=-1e38f;if(r==3)x=0;}
  for(auto&x:codes)x=uint8_t(rng());
  p.values=pick(0,3)?v.data():nullptr;p.codes=codes.data();p.halo_code=uint8_t(rng());
  std::vector<uint8_t> t(p.rank*256+1);for(auto&x:t)x=uint8_t(rng());p.tables=t.data();
  std::vector<int32_t> add(256);int kind=int(pick(0,3));
  for(int j=0;j<256;++j)add[j]=kind==0?-7*j+100:kind==1?int(pick(0,255)):kind==2?int(pick(-70000,70000)):int(pick(-2000000,2000000));
  p.addend=pick(0,4)?add.data():nullptr;
  const int64_t px=p.n*(p.top+p.h+p.bottom)*(p.left+p.w+p.right);
  std::vector<uint8_t> a(px*p.rank*p.c+1,1),b(a);std::vector<int32_t> sa(px*p.groups),sb(sa);
  p.out=a.data();p.sums=sa.data();expand_activations_reference(p);
  p.out=b.data();p.sums=sb.data();expand_activations(p);
  CHECK(a==b,"activation %d: out differs c=%ld rank=%ld layout=%d",i,long(p.c),long(p.rank),int(p.layout));
  CHECK(!p.addend||sa==sb,"activation %d: sums differ c=%ld g=%ld kind=%d",i,long(p.c),long(p.groups),kind);
}
static void fin(int i){
  FinishProblem p{};p.n=pick(1,3);p.pixels=pick(1,300);p.groups=pick(1,3);p.channels=p.groups*pick(1,40);p.count=pick(0,3);
  if(pick(0,3)==0){p.groups=p.channels;}
  const int64_t m=p.n*p.pixels*p.channels;
  std::vector<std::vector<float>> parts(p.count,std::vector<float>(m));
  for(auto&q:parts)for(auto&x:q)x=float(pick(-(1<<24),1<<24));
  std::vector<const float*> pp;for(auto&q:parts)pp.push_back(q.data());
  const bool wide=pick(0,1);
  std::vector<int32_t> box(p.n*p.groups*p.pixels);for(auto&x:box)x=int(pick(-1000000000,1000000000));
  std::vector<int64_t> con(p.channels);for(auto&x:con)x=wide?pick(-(1LL<<50),1LL<<50):pick(-1000000000,1000000000);
  std::vector<float> sc(p.channels);for(auto&x:sc)x=float(pick(1,1000))/777;
  std::vector<float> o1(m),o2(m);std::vector<int64_t> ints(m);
  p.parts=pp.data();p.box=pick(0,2)?box.data():nullptr;p.constant=con.data();p.scale=pick(0,1)?sc.data():nullptr;
  p.bound=wide?1LL<<51:2100000000LL;p.threads=int(pick(1,2));
  p.out=o1.data();finish_reference(p);p.out=o2.data();finish(p);
  CHECK(o1==o2,"finish %d",i);
  p.out=nullptr;p.integers=ints.data();finish(p);
  for(int64_t n=0;n<p.n;++n)for(int64_t o=0;o<p.channels;++o)for(int64_t x=0;x<p.pixels;++x){const int64_t at=(n*p.channels+o)*p.pixels+x;
    CHECK(o1[at]==float(ints[at])*(p.scale?sc[o]:1.0f),"finish integers %d",i);}
}
static void boxt(){
  BoxProblem p{};p.planes=pick(1,4);p.kh=pick(1,3);p.kw=pick(1,3);p.sy=pick(1,3);p.sx=pick(1,3);p.dy=pick(1,3);p.dx=pick(1,3);p.out_height=pick(1,9);p.out_width=pick(1,20);
  p.height=(p.out_height-1)*p.sy+(p.kh-1)*p.dy+1+pick(0,2);p.width=(p.out_width-1)*p.sx+(p.kw-1)*p.dx+1+pick(0,2);p.threads=2;
  std::vector<int32_t> s(p.planes*p.height*p.width),b(p.planes*p.out_height*p.out_width);for(auto&x:s)x=int(pick(-9999,9999));
  p.sums=s.data();p.box=b.data();box_sum(p);
  for(int64_t g=0;g<p.planes;++g)for(int64_t y=0;y<p.out_height;++y)for(int64_t x=0;x<p.out_width;++x){int32_t t=0;
    for(int64_t a=0;a<p.kh;++a)for(int64_t c=0;c<p.kw;++c)t+=s[(g*p.height+y*p.sy+a*p.dy)*p.width+x*p.sx+c*p.dx];
    CHECK(t==b[(g*p.out_height+y)*p.out_width+x],"box");}
}
int main(){for(int i=0;i<600;++i){one(i);fin(i);boxt();}std::printf("activation: %s, %d failures\n",isa_name(chosen_isa()),fails);return fails!=0;}
